"""Every function of Tensors against PyTorch: values and gradients, in both dtypes and both memory formats."""

import operator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import lamella
import lamella.functional as F
from lamella.layout import is_channels_last

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.oracle
TF = torch.nn.functional
TOLERANCE = {"float32": 2e-5, "float64": 1e-10}


def channels_last(x):
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1) if x.ndim == 4 else np.asfortranarray(x)


def same(ours, theirs, tolerance):
    """Values, the gradient of a random cotangent, dtype and shape."""
    assert ours.shape == tuple(theirs.shape)
    assert str(theirs.dtype) == f"torch.{ours.dtype}"
    np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=tolerance, atol=tolerance)


def check(ours, theirs, arrays, tolerance):
    a = [lamella.tensor(x, requires_grad=True) for x in arrays]
    b = [torch.tensor(x, requires_grad=True) for x in arrays]
    for t, x in zip(a, arrays):
        t.data = x  # with its strides
    y, z = ours(*a), theirs(*b)
    same(y, z, tolerance)
    g = np.random.default_rng(1).standard_normal(y.shape).astype(y.dtype)
    y.backward(g)
    z.backward(torch.tensor(g))
    for i, (p, q) in enumerate(zip(a, b)):
        assert p.grad.dtype == p.dtype
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=tolerance, atol=tolerance, err_msg=f"gradient of input {i}")
    return y


X4, C4 = (2, 3, 4, 5), (1, 3, 1, 1)
POSITIVE = "positive"
# name: ours, PyTorch's (of the same Tensors), shapes, and whether inputs must be positive
CASES = {
    "add": (lambda x, y: x + y, lambda x, y: x + y, [X4, X4]),
    "add channel": (lambda x, y: x + y, lambda x, y: x + y, [X4, C4]),
    "add alpha": (lambda x, y: F.add(x, y, alpha=2.5), lambda x, y: torch.add(x, y, alpha=2.5), [X4, (5,)]),
    "add number": (lambda x: 2 + x + 1.5, lambda x: 2 + x + 1.5, [X4]),
    "sub": (lambda x, y: x - y, lambda x, y: x - y, [(3, 1), (1, 4)]),
    "sub alpha": (lambda x, y: F.sub(x, y, alpha=3), lambda x, y: torch.sub(x, y, alpha=3), [X4, X4]),
    "rsub": (lambda x: 2 - x, lambda x: 2 - x, [X4]),
    "mul": (lambda x, y: x * y, lambda x, y: x * y, [X4, C4]),
    "mul number": (lambda x: -1.5 * x, lambda x: -1.5 * x, [X4]),
    "mul itself": (lambda x: x * x, lambda x: x * x, [X4]),
    "div": (lambda x, y: x / y, lambda x, y: x / y, [X4, X4], POSITIVE),
    "div broadcast": (lambda x, y: x / y, lambda x, y: x / y, [(4,), (3, 1)], POSITIVE),
    "rdiv": (lambda x: 2 / x, lambda x: 2 / x, [X4], POSITIVE),
    "pow 2": (lambda x: x**2, lambda x: x**2, [X4]),
    "pow 3": (lambda x: x**3, lambda x: x**3, [X4]),
    "pow 0": (lambda x: x**0, lambda x: x**0, [X4]),
    "pow -0.5": (lambda x: x**-0.5, lambda x: x**-0.5, [X4], POSITIVE),
    "pow tensors": (lambda x, y: x**y, lambda x, y: x**y, [X4, (5,)], POSITIVE),
    "rpow": (lambda x: 2**x, lambda x: 2**x, [X4]),
    "neg": (lambda x: -x, lambda x: -x, [X4]),
    "exp": (F.exp, torch.exp, [X4]),
    "log": (F.log, torch.log, [X4], POSITIVE),
    "sqrt": (F.sqrt, torch.sqrt, [X4], POSITIVE),
    "abs": (abs, torch.abs, [X4]),
    "maximum": (F.maximum, torch.maximum, [X4, X4]),
    "maximum broadcast": (F.maximum, torch.maximum, [X4, C4]),
    "maximum ties": (lambda x: F.maximum(x, x), lambda x: torch.maximum(x, x), [X4]),
    "minimum": (F.minimum, torch.minimum, [X4, (4, 1)]),
    "clamp": (lambda x: x.clamp(-0.5, 0.7), lambda x: x.clamp(-0.5, 0.7), [X4]),
    "clamp min": (lambda x: F.clamp(x, min=0), lambda x: torch.clamp(x, min=0), [X4]),
    "clamp max": (lambda x: F.clamp(x, max=0.25), lambda x: torch.clamp(x, max=0.25), [X4]),
    "where": (lambda x, y: F.where(x > y, x * 2, y), lambda x, y: torch.where(x > y, x * 2, y), [X4, C4]),
    "double": (lambda x: x.double() * 3, lambda x: x.double() * 3, [X4]),
    "clone": (lambda x: x.clone(), lambda x: x.clone(), [X4]),
    "contiguous": (lambda x: x.contiguous(), lambda x: x.contiguous(), [X4]),
    "sum": (lambda x: x.sum(), lambda x: x.sum(), [X4]),
    "sum 1": (lambda x: x.sum(1), lambda x: x.sum(1), [X4]),
    "sum -1 keepdim": (lambda x: x.sum(-1, keepdim=True), lambda x: x.sum(-1, keepdim=True), [X4]),
    "sum (0,2,3)": (lambda x: x.sum((0, 2, 3)), lambda x: x.sum((0, 2, 3)), [X4]),
    "sum of one": (lambda x: x.sum(), lambda x: x.sum(), [()]),
    "mean": (lambda x: x.mean(), lambda x: x.mean(), [X4]),
    "mean (2,3)": (lambda x: x.mean((2, 3), keepdim=True), lambda x: x.mean((2, 3), keepdim=True), [X4]),
    "mean 0": (lambda x: F.mean(x, 0), lambda x: torch.mean(x, 0), [X4]),
    "max": (lambda x: x.max(), lambda x: x.max(), [X4]),
    "max ties": (lambda x: F.clamp(x, max=0.1).max(), lambda x: x.clamp(max=0.1).max(), [X4]),
    "max 1": (lambda x: x.max(1).values, lambda x: x.max(1).values, [X4]),
    "max -1 keepdim": (lambda x: x.max(-1, True)[0], lambda x: x.max(-1, True)[0], [X4]),
    "min": (lambda x: x.min(), lambda x: x.min(), [X4]),
    "min 2": (lambda x: x.min(2)[0], lambda x: x.min(2)[0], [X4]),
    "reshape": (lambda x: x.reshape(6, -1), lambda x: x.reshape(6, -1), [X4]),
    "view": (lambda x: x.view(6, -1), lambda x: x.contiguous().view(6, -1), [X4]),
    "flatten": (lambda x: x.flatten(1), lambda x: x.flatten(1), [X4]),
    "flatten 1 2": (lambda x: x.flatten(1, 2), lambda x: x.flatten(1, 2), [X4]),
    "flatten of one": (lambda x: x.flatten(), lambda x: x.flatten(), [()]),
    "permute": (lambda x: x.permute(2, 0, 3, 1), lambda x: x.permute(2, 0, 3, 1), [X4]),
    "transpose": (lambda x: x.transpose(1, -1), lambda x: x.transpose(1, -1), [X4]),
    "T": (lambda x: x.T, lambda x: x.T, [(3, 4)]),
    "squeeze": (lambda x: x.squeeze(), lambda x: x.squeeze(), [(1, 3, 1, 2)]),
    "squeeze 2": (lambda x: x.squeeze(2), lambda x: x.squeeze(2), [(1, 3, 1, 2)]),
    "squeeze 1": (lambda x: x.squeeze(1), lambda x: x.squeeze(1), [(1, 3, 1, 2)]),
    "squeeze (0, 2)": (lambda x: x.squeeze((0, 2)), lambda x: x.squeeze((0, 2)), [(1, 3, 1, 2)]),
    "unsqueeze": (lambda x: x.unsqueeze(-1).unsqueeze(0), lambda x: x.unsqueeze(-1).unsqueeze(0), [X4]),
    "expand": (lambda x: x.expand(2, -1, 4), lambda x: x.expand(2, -1, 4), [(3, 1)]),
    "cat 0": (lambda x, y: F.cat([x, y, x]), lambda x, y: torch.cat([x, y, x]), [(2, 3), (4, 3)]),
    "cat 1": (lambda x, y: F.concat([x, y], dim=1), lambda x, y: torch.cat([x, y], dim=1), [X4, (2, 1, 4, 5)]),
    "cat -1": (lambda x, y: F.cat([x, y], -1), lambda x, y: torch.cat([x, y], -1), [X4, X4]),
    "stack": (lambda x, y: F.stack([x, y], 1), lambda x, y: torch.stack([x, y], 1), [X4, X4]),
    "stack -1": (lambda x, y: F.stack([x, y], -1), lambda x, y: torch.stack([x, y], -1), [(3,), (3,)]),
    "pad": (lambda x: F.pad(x, (1, 2, 0, 3), value=1.5), lambda x: TF.pad(x, (1, 2, 0, 3), value=1.5), [X4]),
    "pad negative": (lambda x: F.pad(x, (-1, 2, 1, -2)), lambda x: TF.pad(x, (-1, 2, 1, -2)), [X4]),
    "index int": (lambda x: x[1], lambda x: x[1], [X4]),
    "index one": (lambda x: x[1, 2, 0, -1], lambda x: x[1, 2, 0, -1], [X4]),
    "index slices": (lambda x: x[:, 1:, ::2, -3:], lambda x: x[:, 1:, ::2, -3:], [X4]),
    "index ...": (lambda x: x[..., None, 0], lambda x: x[..., None, 0], [X4]),
    "index list": (lambda x: x[[0, 0, 1, 0]], lambda x: x[[0, 0, 1, 0]], [X4]),
    "index repeated": (lambda x: x[:, [2, 2, 0]], lambda x: x[:, [2, 2, 0]], [X4]),
    "index pairs": (lambda x: x[[0, 1, 1, 1], [2, 0, 0, 1]], lambda x: x[[0, 1, 1, 1], [2, 0, 0, 1]], [X4]),
    "index apart": (lambda x: x[[0, 1], :, [0, 0]], lambda x: x[[0, 1], :, [0, 0]], [X4]),
    "index mask": (lambda x: x[x > 0.1], lambda x: x[x > 0.1], [X4]),
    "index rows": (lambda x: x[lamella.tensor([1, 1])], lambda x: x[torch.tensor([1, 1])], [X4]),
    "index empty": (lambda x: x[[]].sum(), lambda x: x[[]].sum(), [X4]),
    "matmul": (lambda x, y: x @ y, lambda x, y: x @ y, [(7, 5), (5, 9)]),
    "matmul vectors": (lambda x, y: x @ y, lambda x, y: x @ y, [(5,), (5,)]),
    "matmul vector matrix": (lambda x, y: x @ y, lambda x, y: x @ y, [(5,), (5, 3)]),
    "matmul matrix vector": (lambda x, y: x @ y, lambda x, y: x @ y, [(3, 5), (5,)]),
    "matmul vector batch": (lambda x, y: x @ y, lambda x, y: x @ y, [(5,), (2, 5, 3)]),
    "matmul batch vector": (lambda x, y: x @ y, lambda x, y: x @ y, [(2, 4, 5), (5,)]),
    "matmul batch": (lambda x, y: x @ y, lambda x, y: x @ y, [(2, 3, 4, 5), (2, 3, 5, 2)]),
    "matmul broadcast": (lambda x, y: x @ y, lambda x, y: x @ y, [(2, 1, 4, 5), (3, 5, 2)]),
    "matmul batch matrix": (lambda x, y: x @ y, lambda x, y: x @ y, [(2, 3, 4, 5), (5, 2)]),
    "matmul matrix batch": (lambda x, y: x @ y, lambda x, y: x @ y, [(4, 5), (3, 5, 2)]),
    "matmul transposed": (lambda x, y: x.T @ y.T, lambda x, y: x.T @ y.T, [(5, 7), (9, 5)]),
    "matmul empty": (lambda x, y: x @ y, lambda x, y: x @ y, [(0, 5), (5, 3)]),
    "matmul inner 0": (lambda x, y: x @ y, lambda x, y: x @ y, [(2, 0), (0, 3)]),
    "linear": (F.linear, TF.linear, [(7, 5), (3, 5), (3,)]),
    "linear without bias": (F.linear, TF.linear, [(7, 5), (3, 5)]),
    "linear 1-d": (F.linear, TF.linear, [(5,), (3, 5), (3,)]),
    "linear 4-d": (F.linear, TF.linear, [X4, (3, 5), (3,)]),
    "linear empty": (F.linear, TF.linear, [(0, 5), (3, 5), (3,)]),
    "gemm": (
        lambda a, b, c: F.gemm(a, b, c, alpha=2.0, beta=-0.5),
        lambda a, b, c: torch.addmm(c, a, b, alpha=2.0, beta=-0.5),
        [(7, 5), (5, 9), (7, 9)],
    ),
    "gemm trans_a bias": (
        lambda a, b, d: F.gemm(a, b, trans_a=True, bias=d, activation="relu"),
        lambda a, b, d: torch.relu(a.T @ b + d),
        [(5, 7), (5, 9), (9,)],
    ),
    "gemm trans_b row bias": (
        lambda a, b, d: F.gemm(a, b, alpha=0.5, trans_b=True, bias=d, activation="leaky_relu"),
        lambda a, b, d: TF.leaky_relu(0.5 * a @ b.T + d),
        [(7, 5), (9, 5), (7, 1)],
    ),
    "gemm trans both": (
        lambda a, b: F.gemm(a, b, trans_a=True, trans_b=True),
        lambda a, b: a.T @ b.T,
        [(5, 7), (9, 5)],
    ),
    "residual": (lambda x: F.relu(x * 2 + 1) + x, lambda x: torch.relu(x * 2 + 1) + x, [X4]),
}  # fmt: skip


@pytest.mark.parametrize("memory", ["c", "channels-last"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CASES)
def test_function(name, dtype, memory):
    ours, theirs, shapes, *positive = CASES[name]
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape).astype(dtype) for shape in shapes]
    if positive:
        arrays = [np.abs(x) + np.asarray(0.5, dtype) for x in arrays]
    arrays = [np.asarray(x) for x in arrays]
    if memory == "channels-last":
        arrays = [channels_last(x) for x in arrays]
    check(ours, theirs, arrays, TOLERANCE[dtype])


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case[0].__module__.startswith("lamella.")])
def test_arrays_in_array_out(name):
    ours, _, shapes, *_ = CASES[name]
    arrays = [np.ones(shape) for shape in shapes]
    out = ours(*arrays)
    assert isinstance(out, np.ndarray)
    np.testing.assert_array_equal(out, ours(*[lamella.from_numpy(x) for x in arrays]).numpy())


ELEMENTWISE = [
    "add",
    "add channel",
    "add number",
    "mul",
    "div",
    "pow 2",
    "exp",
    "abs",
    "maximum",
    "maximum broadcast",
    "clamp",
    "cat 1",
    "pad",
    "residual",
]


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_channels_last_is_kept(name):
    ours, _, shapes, *_ = CASES[name]
    for first in (True, False):  # all channels-last, and one among C-contiguous operands
        arrays = [np.ones(shape) for shape in shapes]
        arrays = [channels_last(x) if i == 0 or first else x for i, x in enumerate(arrays)]
        tensors = [lamella.tensor(0.0, dtype="float64", requires_grad=True) for _ in arrays]
        for t, x in zip(tensors, arrays):
            t.data = x
        out = ours(*tensors)
        assert is_channels_last(out.data)
        assert not out.data.flags.c_contiguous
        if len(arrays) == 2:
            out = ours(*[lamella.from_numpy(x) for x in arrays[::-1]]) if name in ("add", "mul") else out
            assert is_channels_last(out.data)


@pytest.mark.parametrize("name", ["max", "min", "argmax", "argmin"])
@pytest.mark.parametrize("dim", [0, 1, -1])
def test_indices(name, dim):
    x = np.random.default_rng(0).integers(0, 3, (4, 5, 6)).astype("float32")
    x[1, 2, 3] = np.nan
    ours, theirs = getattr(F, name)(lamella.tensor(x), dim), getattr(torch, name)(torch.tensor(x), dim)
    if "arg" not in name:
        np.testing.assert_array_equal(ours.values.numpy(), theirs.values.numpy())
        ours, theirs = ours.indices, theirs.indices
    assert ours.dtype == np.int64
    picked = np.take_along_axis(x, np.expand_dims(ours.numpy(), dim), dim)
    np.testing.assert_array_equal(picked, np.take_along_axis(x, np.expand_dims(theirs.numpy(), dim), dim))


@pytest.mark.parametrize("name", ["argmax", "argmin"])
def test_index_of_all(name):
    x = np.random.default_rng(0).standard_normal((4, 5))
    assert getattr(F, name)(lamella.tensor(x)).item() == getattr(torch, name)(torch.tensor(x)).item()


SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 3e38, -3e38, 1e-40], "float32")


@pytest.mark.parametrize("name", ["exp", "log", "sqrt", "abs", "neg", "add", "sub", "mul", "div", "pow", "maximum", "minimum"])
def test_nan_and_inf(name):
    if name in ("exp", "log", "sqrt", "abs", "neg"):
        ours, theirs = getattr(F, name)(SPECIAL), getattr(torch, name)(torch.tensor(SPECIAL)).numpy()
    else:
        ours = getattr(F, name)(SPECIAL[:, None], SPECIAL)
        theirs = getattr(torch, name)(torch.tensor(SPECIAL)[:, None], torch.tensor(SPECIAL)).numpy()
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


@pytest.mark.parametrize("name", ["add", "sub", "mul", "div", "eq", "lt"])
@pytest.mark.parametrize("other", [2, 0.5, True, np.float64(0.5), np.int64(3)], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_numbers_keep_the_dtype(name, other, dtype):
    if name == "sub" and other is True:
        return  # PyTorch refuses
    x = np.arange(-2, 3).astype(dtype)
    function = {"add": operator.add, "sub": operator.sub, "mul": operator.mul, "div": operator.truediv}.get(name) or getattr(operator, name)
    plain = other.item() if isinstance(other, np.generic) else other
    ours, theirs = function(lamella.tensor(x), other), function(torch.tensor(x), plain)
    same(ours, theirs, 1e-6)


def test_integers_join_floats():
    x, mask = np.ones((2, 3), "float32"), np.array([True, False, True])
    assert (lamella.tensor(x) * lamella.tensor(mask)).dtype == np.float32
    assert (lamella.tensor(mask) * lamella.tensor(x)).dtype == np.float32
    assert (lamella.tensor(x) + lamella.arange(3)).dtype == np.float32
    assert lamella.tensor([1, 2]).sum().dtype == np.int64
    assert (lamella.tensor([1, 2]) / 2).dtype == np.float32


shapes = hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, max_side=4)


@settings(max_examples=60, deadline=None)
@given(shapes, st.sampled_from(["add", "sub", "mul", "div", "maximum", "pow"]), st.booleans())
def test_broadcasting(drawn, name, transposed):
    rng = np.random.default_rng(0)
    arrays = [np.asarray(np.abs(rng.standard_normal(shape)) + 0.5) for shape in drawn.input_shapes]
    if transposed:
        arrays = [np.asfortranarray(x) for x in arrays]
    check(getattr(F, name), getattr(torch, name), arrays, 1e-10)


@st.composite
def indexed(draw):
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=4))
    if draw(st.booleans()):
        index = draw(hnp.basic_indices(shape, allow_newaxis=True).filter(lambda i: steps_forward(i)))
    else:
        index = draw(hnp.integer_array_indices(shape, result_shape=hnp.array_shapes(max_dims=2, max_side=5)))
    return shape, index


def steps_forward(index):
    """PyTorch takes no negative steps."""
    return all(not isinstance(i, slice) or i.step is None or i.step > 0 for i in (index if isinstance(index, tuple) else (index,)))


@settings(max_examples=80, deadline=None)
@given(indexed())
def test_indexing(case):
    shape, index = case
    theirs = tuple(torch.tensor(i) if isinstance(i, np.ndarray) else i for i in index) if isinstance(index, tuple) else index
    check(lambda x: x[index], lambda x: x[theirs], [np.random.default_rng(0).standard_normal(shape)], 1e-10)


def test_long_sums_in_float32():
    x = np.random.default_rng(0).random((8, 4, 96, 96)).astype("float32")
    for memory in (x, channels_last(x)):
        exact = memory.astype(np.float64).sum((0, 2, 3))
        np.testing.assert_allclose(F.sum(memory, (0, 2, 3)), exact, rtol=1e-6)
        np.testing.assert_allclose(F.sum(memory), exact.sum(), rtol=1e-6)


LARGE = (2, 33, 32, 33)  # beyond lamella.memory.LEAST: computed by our kernels


@pytest.mark.parametrize("backend", ["cython", "numba", "reference"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("memory", ["contiguous", "channels-last", "mixed"])
@pytest.mark.parametrize("name", ["add", "sub", "mul", "truediv"])
def test_large_arithmetic(name, memory, dtype, backend):
    x, y = (np.random.default_rng(i).uniform(0.5, 2, LARGE).astype(dtype) for i in range(2))
    x = x if memory == "contiguous" else channels_last(x)
    y = channels_last(y) if memory == "channels-last" else y
    function = getattr(operator, name)
    with lamella.use_backend(backend):
        check(lambda a, b: function(a, b) * a, lambda a, b: function(a, b) * a, [x, y], TOLERANCE[dtype])


@pytest.mark.parametrize("shapes", [((3, 4), (3, 4)), ((3, 4), (4,)), (LARGE, LARGE)])
@pytest.mark.parametrize("alpha", [1, -2])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_add_with_relu(dtype, alpha, shapes):
    arrays = [np.random.default_rng(i).standard_normal(shape).astype(dtype) for i, shape in enumerate(shapes)]
    arrays[0][0, 0] = -arrays[1].reshape(-1)[0] * alpha if len(shapes[1]) == 1 else arrays[0][0, 0]
    check(
        lambda a, b: F.add(a, b, alpha=alpha, activation="relu"),
        lambda a, b: torch.relu(torch.add(a, b, alpha=alpha)),
        arrays,
        TOLERANCE[dtype],
    )
    assert isinstance(F.add(*arrays, activation="relu"), np.ndarray)
    with pytest.raises(ValueError, match="'none' or 'relu'"):
        F.add(*arrays, activation="tanh")
    x = np.array([[np.nan, -1.0]], dtype)
    np.testing.assert_array_equal(F.add(x, x, activation="relu"), np.array([[np.nan, 0]], dtype))


def test_gradients_of_a_fork_are_summed_by_the_kernel():
    """Where a value goes two ways, as in a residual block, its gradients meet in recycled memory."""
    x = lamella.tensor(channels_last(np.ones(LARGE, np.float32)), requires_grad=True)
    y = x * 2.0
    (y * 3.0 + F.relu(y)).backward(channels_last(np.ones(LARGE, np.float32)))
    assert (x.grad.data == 8).all() and is_channels_last(x.grad.data)
