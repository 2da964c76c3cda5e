"""Hostile input to every operation: the right answer, or one clear error; never a crash, never a silently wrong number."""

import numpy as np
import pytest

import lamella
import lamella.functional as F
from lamella import nn

rng = np.random.default_rng(0)
IMAGES = rng.standard_normal((2, 3, 8, 8))
WEIGHT = rng.standard_normal((4, 3, 3, 3))
LABELS = np.array([0, 2])

# name -> (function of one float array, an array it takes)
FUNCTIONS = {
    "conv2d": (lambda x: F.conv2d(x, WEIGHT.astype(x.dtype.newbyteorder("=")), padding=1), IMAGES),
    "conv2d weight": (lambda w: F.conv2d(IMAGES.astype(w.dtype.newbyteorder("=")), w), WEIGHT),
    "max_pool2d": (lambda x: F.max_pool2d(x, 2), IMAGES),
    "avg_pool2d": (lambda x: F.avg_pool2d(x, 3, 2, 1), IMAGES),
    "lp_pool2d": (lambda x: F.lp_pool2d(x, 2, 2), np.abs(IMAGES)),
    "adaptive_avg_pool2d": (lambda x: F.adaptive_avg_pool2d(x, 3), IMAGES),
    "batch_norm": (lambda x: F.batch_norm(x, None, None, training=True), IMAGES),
    "relu": (F.relu, IMAGES),
    "leaky_relu": (F.leaky_relu, IMAGES),
    "sigmoid": (F.sigmoid, IMAGES),
    "tanh": (F.tanh, IMAGES),
    "mish": (F.mish, IMAGES),
    "prelu": (lambda x: F.prelu(x, WEIGHT[0, :, 0, 0].astype(x.dtype.newbyteorder("="))), IMAGES),
    "softmax": (lambda x: F.softmax(x, 1), IMAGES),
    "log_softmax": (lambda x: F.log_softmax(x, -1), IMAGES),
    "cross_entropy": (lambda x: F.cross_entropy(x, LABELS), IMAGES[:, :, 0, 0]),
    "linear": (lambda x: F.linear(x, WEIGHT.reshape(4, 27)[:, :8].astype(x.dtype.newbyteorder("="))), IMAGES),
    "matmul": (lambda x: F.matmul(x, x), IMAGES),
    "add": (lambda x: F.add(x, x), IMAGES),
    "sum": (lambda x: F.sum(x, 1), IMAGES),
    "mean": (lambda x: F.mean(x, (0, 2)), IMAGES),
    "exp": (F.exp, IMAGES),
}


def misaligned(x):
    raw = np.empty(x.nbytes + 1, np.uint8)
    y = raw[1:].view(x.dtype).reshape(x.shape)
    y[...] = x
    assert not y.flags.aligned
    return y


def readonly(x):
    y = x.copy()
    y.flags.writeable = False
    return y


def every_other(x):
    y = np.full((*x.shape[:-1], 2 * x.shape[-1]), np.nan, x.dtype)
    y[..., ::2] = x
    return y[..., ::2]


FORMS = {
    "read-only": readonly,
    "non-contiguous": every_other,
    "negative strides": lambda x: x[..., ::-1, :].copy()[..., ::-1, :] if x.ndim > 1 else x[::-1].copy()[::-1],
    "Fortran order": np.asfortranarray,
    "transposed": lambda x: x.T.copy().T,
    "byte-swapped": lambda x: x.astype(x.dtype.newbyteorder()),
    "misaligned": misaligned,
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_memory_does_not_change_the_answer(name, form, dtype):
    function, x = FUNCTIONS[name]
    x = x.astype(dtype)
    odd = FORMS[form](x)
    before = odd.copy()
    np.testing.assert_allclose(
        function(odd), function(x), rtol=1e-5 if dtype == "float32" else 1e-12, atol=1e-6 if dtype == "float32" else 1e-13
    )
    np.testing.assert_array_equal(odd, before)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_memory_does_not_change_the_gradient(name, form):
    function, x = FUNCTIONS[name]
    gradients = []
    for data in (x, FORMS[form](x)):
        t = lamella.from_numpy(data)
        if data.dtype.isnative:
            t.requires_grad_()
            out = function_of_tensor(name)(t)
            out.backward(np.random.default_rng(1).standard_normal(out.shape))
            gradients.append(t.grad.numpy())
    np.testing.assert_allclose(gradients[-1], gradients[0], rtol=1e-12, atol=1e-13)


def function_of_tensor(name):
    function, _ = FUNCTIONS[name]
    special = {
        "conv2d": lambda x: F.conv2d(x, WEIGHT, padding=1),
        "conv2d weight": lambda w: F.conv2d(IMAGES, w),
        "linear": lambda x: F.linear(x, WEIGHT.reshape(4, 27)[:, :8].copy()),
        "prelu": lambda x: F.prelu(x, WEIGHT[0, :, 0, 0]),
    }
    return special.get(name, function)


@pytest.mark.parametrize("dtype", ["int64", "uint8", "bool", "complex64", "float16"])
@pytest.mark.parametrize("name", [n for n in FUNCTIONS if n not in ("add", "sum", "mean", "exp", "matmul")])
def test_other_dtypes_are_refused_with_the_fix(name, dtype):
    function, x = FUNCTIONS[name]
    with pytest.raises(TypeError, match=r"float32 or float64, got|one dtype"):
        function(x.real.astype(dtype))


@pytest.mark.parametrize(
    "call",
    [
        lambda: F.conv2d(IMAGES, WEIGHT.astype("f")),
        lambda: F.conv2d(IMAGES, WEIGHT, np.zeros(4, "f")),
        lambda: F.linear(IMAGES, WEIGHT.reshape(4, 27)[:, :8].astype("f")),
        lambda: F.matmul(IMAGES, IMAGES.astype("f")),
    ],
)
def test_mixed_dtypes_are_refused(call):
    with pytest.raises(TypeError, match=r"float(32|64).*float(32|64)"):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: F.conv2d(IMAGES[0, 0], WEIGHT), r"conv2d: expected input of 4 dimensions \(N, 3, H, W\).*got shape \(8, 8\)"),
        (lambda: F.conv2d(IMAGES, WEIGHT[0]), "conv2d: expected weight of 4 dimensions"),
        (lambda: F.conv2d(IMAGES[:, :2], WEIGHT), r"conv2d: expected input \(N, 3, H, W\).*got \(2, 2, 8, 8\)"),
        (lambda: F.conv2d(IMAGES.transpose(0, 2, 3, 1), WEIGHT), r"transpose\(0, 3, 1, 2\)"),
        (
            lambda: F.conv2d(IMAGES[:, 0], WEIGHT[:, :1]),
            r"expected input \(N, 1, H, W\) or \(1, H, W\).*got \(2, 8, 8\).*add it: x\[:, None\]",
        ),
        (lambda: F.conv2d(IMAGES[0].transpose(1, 2, 0), WEIGHT), r"got \(8, 8, 3\).*x.transpose\(2, 0, 1\)"),
        (lambda: F.conv2d(IMAGES[:1], WEIGHT[:, :1]), r"got \(1, 3, 8, 8\)$"),
        (lambda: F.conv2d(IMAGES[:, :, :2], WEIGHT), "kernel is larger than the padded input"),
        (lambda: F.conv2d(IMAGES, WEIGHT, stride=0), "conv2d: expected stride of at least 1, got 0"),
        (lambda: F.conv2d(IMAGES, WEIGHT, stride=(1, -2)), "conv2d: expected stride of at least 1"),
        (lambda: F.conv2d(IMAGES, WEIGHT, padding=-1), "conv2d: expected padding of at least 0"),
        (lambda: F.conv2d(IMAGES, WEIGHT, padding="half"), "'valid' or 'same'"),
        (lambda: F.conv2d(IMAGES, WEIGHT, padding="same", stride=2), "padding='same' needs stride 1"),
        (lambda: F.conv2d(IMAGES, WEIGHT, dilation=0), "conv2d: expected dilation of at least 1"),
        (lambda: F.conv2d(IMAGES, WEIGHT, groups=2), "groups=2 must divide"),
        (lambda: F.conv2d(IMAGES, WEIGHT, groups=0), "groups"),
        (lambda: F.conv2d(IMAGES, WEIGHT, stride=2**63), r"conv2d: expected stride below 2\*\*62"),
        (
            lambda: F.conv1d(IMAGES[:, :2, 0], WEIGHT[:, :, 0]),
            r"conv1d: expected input \(N, 3, L\) for weight \(4, 3, 3\).*got \(2, 2, 8\)",
        ),
        (lambda: F.conv1d(IMAGES[:, :, 0, :2], WEIGHT[:, :, 0]), "conv1d: the kernel is larger than the padded input: kernel 3"),
        (lambda: F.max_pool2d(IMAGES, 2, stride=2**63), r"max_pool2d: expected stride below 2\*\*62"),
        (lambda: F.avg_pool2d(IMAGES, 2**61, padding=2**60), "avg_pool2d: the problem is too large"),
        (lambda: F.avg_pool2d(IMAGES, 2, divisor_override=2**63), r"divisor_override below 2\*\*62"),
        (lambda: F.adaptive_avg_pool2d(IMAGES, 2**31), "adaptive_avg_pool2d: the problem is too large"),
        (lambda: F.conv2d(IMAGES, WEIGHT, np.zeros(3)), r"conv2d: expected bias of shape \(4,\).*got \(3,\)"),
        (lambda: F.max_pool2d(IMAGES, 9), "max_pool2d"),
        (lambda: F.max_pool2d(IMAGES, 0), "max_pool2d"),
        (lambda: F.max_pool2d(IMAGES, 2, stride=0), "max_pool2d"),
        (lambda: F.max_pool2d(IMAGES, 2, padding=2), "max_pool2d.*padding"),
        (lambda: F.avg_pool2d(IMAGES[0, 0], 2), "avg_pool2d"),
        (lambda: F.batch_norm(IMAGES, np.zeros(2), np.ones(2)), "batch_norm"),
        (lambda: F.batch_norm(IMAGES[:1, :, :1, :1], None, None, training=True), "more than 1 value per channel"),
        (lambda: F.linear(IMAGES, WEIGHT.reshape(4, 27)), "linear"),
        (lambda: F.matmul(IMAGES, IMAGES[..., :5, :]), "matmul"),
        (lambda: F.cross_entropy(IMAGES[:, :, 0, 0], np.array([0, 3])), "3"),
        (lambda: F.cross_entropy(IMAGES[:, :, 0, 0], np.array([0, -1])), "-1"),
        (lambda: F.cross_entropy(IMAGES[:, :, 0, 0], np.array([0, 1, 2])), "cross_entropy"),
        (lambda: F.softmax(IMAGES, 4), "softmax"),
        (lambda: F.add(IMAGES, IMAGES[:, :2]), "add"),
    ],
)
def test_one_clear_error(call, message):
    with pytest.raises((ValueError, IndexError), match=message):
        call()


@pytest.mark.parametrize("groups", ["3", None, 1.0])
@pytest.mark.parametrize("call", [F.conv1d, F.conv2d, F.conv3d, F.conv_transpose2d])
def test_groups_are_an_int(call, groups):
    dims = int(call.__name__[-2]) + 2
    x, w = np.ones((1, 3, 4, 4, 4)[:dims]), np.ones((3, 3, 2, 2, 2)[:dims])
    call(x, w, groups=np.int64(1))
    with pytest.raises(TypeError, match=f"{call.__name__}: expected groups as an int, got {groups!r}"):
        call(x, w, groups=groups)


def test_one_number_in_a_tuple_is_for_both_axes():
    np.testing.assert_array_equal(F.conv2d(IMAGES, WEIGHT, stride=(2,), padding=[1]), F.conv2d(IMAGES, WEIGHT, stride=2, padding=1))


def test_errors_name_the_layer():
    model = nn.Sequential(nn.Conv2d(1, 6, 5), nn.Identity(), nn.Conv2d(8, 16, 5))
    with pytest.raises(
        ValueError, match=r"2 \(Conv2d\(8, 16, kernel_size=\(5, 5\).*\): conv2d: expected input \(N, 8, H, W\).*got \(2, 6, 24, 24\)"
    ):
        model(lamella.zeros(2, 1, 28, 28))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_empty_batch_gives_an_empty_result(name):
    if name in (
        "conv2d weight",
        "cross_entropy",
        "batch_norm",
        "matmul",
    ):  # no batch axis; a mean of nothing; no statistics; both operands shrink
        return
    function, x = FUNCTIONS[name]
    out = function(x[:0])
    full = function(x)
    if name == "mean":
        assert np.isnan(out).all()
    else:
        assert out.size == 0
        assert out.shape[1:] == full.shape[1:]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("special", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["conv2d", "max_pool2d", "avg_pool2d", "relu", "leaky_relu", "linear", "batch_norm", "add", "softmax"])
def test_nan_and_inf_propagate(name, special, dtype):
    function, x = FUNCTIONS[name]
    x = x.astype(dtype)
    x[1, 2, 3, 4] = special
    out = function(x)
    assert not np.isfinite(out[1]).all()
    if name != "batch_norm":
        assert np.isfinite(out[0]).all(), "a value of one image leaked into another"


def test_more_than_two_to_the_31_elements():
    side = 46600  # side * side > 2**31; the memory is never touched but where the strided operations read it
    x = np.zeros((1, 1, side, side), np.float32)
    last = (side - 1) // 100 * 100
    x[0, 0, last, last] = 3.0
    out = F.conv2d(x, np.full((1, 1, 1, 1), 2.0, np.float32), stride=100)
    assert out[0, 0, -1, -1] == 6.0
    assert out.sum() == 6.0
    pooled = F.max_pool2d(x, 1, 100)
    assert pooled[0, 0, -1, -1] == 3.0
    assert pooled.sum() == 3.0


@pytest.mark.parametrize("padding", [2**20, 2**31, 2**40])
def test_absurd_sizes_are_refused_before_anything_is_allocated(padding):
    with pytest.raises((ValueError, MemoryError)):
        F.conv2d(IMAGES, WEIGHT, padding=padding)
