"""The stated bounds of exp, expm1, log, sigmoid, softplus, tanh and erf, in units in the last place, and their limits."""

import numpy as np
import pytest

from lamella.problems import ActivationProblem, SoftmaxProblem
from lamella.registry import OPERATIONS, select, use_backend

IMPLEMENTATIONS = [row.name for row in OPERATIONS["activation"].implementations if row.functions is None and row.name != "ref"]
DTYPES = [np.float32, np.float64]
inf, nan = np.inf, np.nan
ULPS = {"exp": 2, "expm1": 2, "log": 2, "sigmoid": 4, "softplus": 4, "tanh": 4, "erf": 4}
ROWS = {"expm1": ("elu", 1.0, 1.0, 1.0), "softplus": ("softplus", 1.0, inf)}  # where they are found in the table of activations


def erf(x):
    """In the type of x: the series erf x = 2/sqrt(pi) e^(-x^2) sum 2^k x^(2k+1) / (2k+1)!!, whose terms are all positive."""
    a = np.minimum(np.abs(x), 8)
    term = total = a * 2 / np.sqrt(np.pi * np.ones((), x.dtype))
    if x.dtype == np.longdouble:
        term = total = a * (2 / np.sqrt(np.longdouble("3.14159265358979323846264")))
    for k in range(1, 400):
        term = term * 2 * a * a / (2 * k + 1)
        total = total + term
    return np.copysign(total * np.exp(-a * a), x)


def compute(name, function, x):
    p = ActivationProblem.of(x.size, x.dtype, *ROWS.get(function, (function,)))
    out = np.empty_like(x)
    with use_backend(activation=name):
        select("activation", "forward", p)(p, x, out)
    return out


def arguments(function, dtype):
    info = np.finfo(dtype)
    rng = np.random.default_rng(0)
    n = 20000
    if function == "log":
        near_one = 1 + rng.standard_normal(n) * 10.0 ** rng.uniform(-6, -0.5, n)
        spread = np.exp(rng.uniform(np.log(info.tiny), np.log(info.max), n))
        x = np.concatenate([np.abs(near_one), spread, [info.tiny, info.max, 0.5, 1, 2, np.sqrt(0.5), np.sqrt(2)]])
    else:
        limit = np.log(float(info.max))
        wide = rng.uniform(-limit, limit, n) * 0.98
        small = rng.standard_normal(n) * 10.0 ** rng.uniform(-30, 1, n)
        halves = (np.arange(-40, 41) + 0.5) * np.log(2) / 2  # between two reduced ranges
        x = np.concatenate([wide, small, halves, -halves, [limit * 0.9999999, 0.0, 1.0, -1.0]])
    if function == "expm1":  # in the table, it stands to the left of 0
        x = -np.abs(x)
    return np.sort(x.astype(dtype))


def oracle(function, x):
    """The function rounded from a wider type: float64 for float32, long double (64 bits of digits) for float64."""
    x = x.astype(np.float64 if x.dtype == np.float32 else np.longdouble)
    if function == "sigmoid":
        with np.errstate(over="ignore"):
            return 1 / (1 + np.exp(-x))
    if function == "softplus":
        return np.logaddexp(0, x)
    if function == "erf":
        return erf(x)
    with np.errstate(all="ignore"):
        return getattr(np, function)(x)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("function", ULPS)
@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_ulps(name, function, dtype):
    if dtype is np.float64 and np.finfo(np.longdouble).nmant < 60:
        pytest.skip("no wider type than float64 here")
    x = arguments(function, dtype)
    got, expected = compute(name, function, x), oracle(function, x)
    ulp = np.spacing(np.maximum(np.abs(expected), np.finfo(dtype).tiny).astype(dtype))
    error = np.abs(got - expected) / ulp
    error[np.abs(expected) < np.finfo(dtype).tiny] = 0  # denormal results may be 0
    worst = int(error.argmax())
    assert error[worst] <= ULPS[function], f"{function}({x[worst]!r}) = {got[worst]!r}, off by {error[worst]:.2f} ulp"


def agree(got, expected, ulps):
    """Where the two are the same, or differ by so many ulp, or below the smallest normal number both: there, a result may be 0."""
    tiny = np.finfo(got.dtype).tiny
    with np.errstate(all="ignore"):
        rounded = expected.astype(got.dtype)
        ulp = np.spacing(np.maximum(np.abs(rounded), tiny))
        small = (np.abs(got) <= tiny) & (np.abs(rounded) <= tiny)
        return (got == rounded) | (np.isnan(got) & np.isnan(rounded)) | (np.abs(got - expected) <= ulps * ulp) | small


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("function", ULPS)
@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_every_exponent(name, function, dtype):
    """Numbers of either sign from the smallest denormal to the largest number: the ends of every power of two and some between."""
    info, bits = np.finfo(dtype), np.uint32 if dtype == np.float32 else np.uint64
    rng = np.random.default_rng(1)
    powers = np.arange(2 ** (info.bits - info.nmant - 1) - 1, dtype=bits) << bits(info.nmant)
    between = rng.integers(0, 2**info.nmant, (len(powers), 12 if dtype == np.float32 else 2), bits)
    between[:, 0], between[:, 1] = 0, 2**info.nmant - 1
    x = (powers[:, None] + between).view(dtype).ravel()
    x = np.concatenate([-x[::-1], x])
    if function == "expm1":  # in the table, it stands to the left of 0
        x = x[x < 0]
    flushed = np.where(np.abs(x) < info.tiny, 0 * x, x)  # a denormal number may count as 0
    got = compute(name, function, x)
    right = agree(got, oracle(function, x), ULPS[function]) | agree(got, oracle(function, flushed), ULPS[function])
    assert right.all(), (x[~right][:5], got[~right][:5])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["cy_rows", "nb_rows"])
def test_exponentials_of_differences(name, dtype):
    """exp_below within 2 + |x| / 20 ulp, as softmax has it: of a row (0, x) e^x / (1 + e^x), whose sum, reciprocal and product may add 2 ulp."""
    x = -np.abs(arguments("exp", dtype))
    rows, out = np.stack([np.zeros_like(x), x], 1), np.empty((len(x), 2), dtype)
    p = SoftmaxProblem.of(*rows.shape, np.dtype(dtype))
    with use_backend(softmax=name):
        select("softmax", "forward", p)(p, rows, out)
    expected = oracle("sigmoid", x)
    error = np.abs(out[:, 1] - expected) / np.spacing(expected.astype(dtype))
    kept = expected >= np.finfo(dtype).tiny
    assert (error[kept] <= 4 + np.abs(x[kept]) / 20).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_mpmath(name, dtype):
    """A second oracle, independent of the C library, on fewer points."""
    mpmath = pytest.importorskip("mpmath")
    functions = {
        "exp": mpmath.exp,
        "log": mpmath.log,
        "tanh": mpmath.tanh,
        "erf": mpmath.erf,
        "sigmoid": lambda v: 1 / (1 + mpmath.exp(-v)),
        "expm1": mpmath.expm1,
        "softplus": lambda v: mpmath.log1p(mpmath.exp(v)),
    }
    with mpmath.workdps(50):
        for function, exact in functions.items():
            x = arguments(function, dtype)[::97].copy()
            for got, v in zip(compute(name, function, x), x):
                expected = exact(mpmath.mpf(float(v)))
                if abs(expected) > np.finfo(dtype).tiny:
                    error = abs(mpmath.mpf(float(got)) - expected) / float(np.spacing(dtype(abs(expected))))
                    assert error <= ULPS[function], (function, v, got, float(error))


LIMITS = {
    "exp": [(0, 1), (-0.0, 1), (inf, inf), (-inf, 0), (nan, nan), (1e4, inf), (-1e4, 0)],
    "expm1": [(0, 0), (-inf, -1), (nan, nan), (-1e4, -1), (-1e-30, -1e-30)],
    "softplus": [(inf, inf), (-inf, 0), (nan, nan), (1e4, 1e4), (-1e4, 0)],
    "log": [(1, 0), (0, -inf), (-0.0, -inf), (inf, inf), (-1, nan), (-inf, nan), (nan, nan)],
    "sigmoid": [(0, 0.5), (inf, 1), (-inf, 0), (nan, nan), (1e4, 1), (-1e4, 0), (1e30, 1)],
    "tanh": [(0, 0), (-0.0, -0.0), (inf, 1), (-inf, -1), (nan, nan), (1e4, 1), (-1e4, -1), (1e-30, 1e-30)],
    "erf": [(0, 0), (-0.0, -0.0), (inf, 1), (-inf, -1), (nan, nan), (1e4, 1), (-1e4, -1), (6, 1), (-6, -1)],
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("function", ULPS)
@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_limits(name, function, dtype):
    x, expected = np.array(LIMITS[function], dtype).T
    x = np.ascontiguousarray(x)
    for count in (1, 9):  # a masked register and whole ones
        got = compute(name, function, np.repeat(x, count))
        np.testing.assert_array_equal(got, np.repeat(expected, count))
        np.testing.assert_array_equal(np.signbit(got[~np.isnan(got)]), np.signbit(np.repeat(expected, count)[~np.isnan(got)]))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_odd_and_monotone(name, dtype):
    x = np.linspace(0, 20, 4001).astype(dtype)
    y = compute(name, "tanh", x)
    np.testing.assert_array_equal(compute(name, "tanh", -x), -y)
    np.testing.assert_array_equal(compute(name, "erf", -x), -compute(name, "erf", x))
    assert (np.abs(compute(name, "erf", x)) <= 1).all()
    assert (np.abs(y) <= 1).all()
    s = compute(name, "sigmoid", np.linspace(-120, 120, 4001).astype(dtype))
    assert ((s >= 0) & (s <= 1)).all()
