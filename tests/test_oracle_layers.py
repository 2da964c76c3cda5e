"""Layers that stand on other operations against PyTorch: forward, backward, names of parameters, repr."""

import numpy as np
import pytest

import lamella
import lamella.functional as F
from lamella import nn
from lamella.layout import channels_last

torch = pytest.importorskip("torch")
T = torch.nn.functional
pytestmark = [pytest.mark.oracle, pytest.mark.filterwarnings("ignore:Using padding=.same")]


def draw(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def close(got, want, dtype="float64"):
    want = want.detach().numpy()
    assert got.shape == want.shape and got.dtype == want.dtype
    limit = 1e-10 if dtype == "float64" else 2e-5
    np.testing.assert_allclose(got.detach().numpy(), want, rtol=limit, atol=limit * max(1.0, np.abs(want).max(initial=0)))


def call(where, name, arrays, args, options):
    """A function of either; with an underscore behind its name, parameters follow the other arguments."""
    if name.endswith("_"):
        return getattr(where, name[:-1])(arrays[0], *args, *arrays[1:], **options)
    return getattr(where, name)(*arrays, *args, **options)


def function(name, arrays, *args, dtype="float64", memory="c", **options):
    """One function of both, forward and backward."""
    arrays = [None if a is None else a.astype(dtype) for a in arrays]
    ours = [None if a is None else lamella.from_numpy(a.copy()).requires_grad_() for a in arrays]
    if memory == "channels_last":
        ours[0] = lamella.from_numpy(channels_last(arrays[0].copy())).requires_grad_()
    theirs = [None if a is None else torch.from_numpy(a.copy()).requires_grad_() for a in arrays]
    out, want = call(F, name, ours, args, options), call(T, name, theirs, args, options)
    close(out, want, dtype)
    g = draw(*out.shape, seed=1).astype(dtype)
    out.backward(g)
    want.backward(torch.from_numpy(g))
    for a, b in zip(ours, theirs):
        if a is not None:
            close(a.grad, b.grad, dtype)
    plain = call(F, name, [None if a is None else a.data for a in ours], args, options)
    assert isinstance(plain, np.ndarray)
    np.testing.assert_array_equal(plain, out.detach().numpy())


def layer(name, args, options, *shape, integers=False, train=True):
    """One layer of both, with the same parameters: forward, backward, state, repr."""
    ours, theirs = getattr(nn, name)(*args, **options), getattr(torch.nn, name)(*args, **options)
    assert repr(ours) == repr(theirs)
    state = {
        k: draw(*v.shape, seed=2).astype("float32") if v.dtype.is_floating_point else v.numpy() for k, v in theirs.state_dict().items()
    }
    state = {k: np.abs(v) + 0.5 if k == "running_var" else v for k, v in state.items()}
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(state)
    theirs.load_state_dict({k: torch.from_numpy(np.array(v)) for k, v in state.items()})
    ours, theirs = ours.to(np.float64), theirs.double()
    ours.train(train)
    theirs.train(train)
    x = lamella.from_numpy(draw(*shape)).requires_grad_()
    tx = torch.from_numpy(draw(*shape)).requires_grad_()
    out, want = ours(x), theirs(tx)
    close(out, want)
    g = draw(*out.shape, seed=1)
    out.backward(g)
    want.backward(torch.from_numpy(g))
    close(x.grad, tx.grad)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        close(a.grad, b.grad)
    for (k, a), b in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
        np.testing.assert_allclose(np.asarray(a), b.numpy(), rtol=1e-10, atol=1e-12, err_msg=k)


# Convolutions


@pytest.mark.parametrize(
    ("x", "w", "options"),
    [
        ((2, 4, 9), (6, 4, 3), {"padding": 1}),
        ((2, 4, 10), (6, 2, 3), {"stride": 2, "padding": 2, "dilation": 2, "groups": 2}),
        ((2, 3, 10), (6, 3, 4), {"padding": "same", "dilation": 3}),
        ((2, 3, 10), (6, 3, 4), {"padding": "valid"}),
        ((3, 10), (6, 3, 1), {"stride": (3,)}),
        ((0, 3, 10), (6, 3, 3), {}),
    ],
    ids=str,
)
def test_conv1d(x, w, options):
    function("conv1d", [draw(*x), draw(*w), draw(w[0])], **options)
    function("conv1d", [draw(*x), draw(*w), None], **options)


@pytest.mark.parametrize(
    ("x", "w", "options"),
    [
        ((2, 3, 5, 6, 7), (4, 3, 3, 3, 3), {"padding": 1}),
        ((2, 4, 7, 6, 8), (6, 2, 3, 2, 3), {"stride": (2, 1, 2), "padding": (2, 0, 1), "dilation": (2, 1, 1), "groups": 2}),
        ((1, 3, 6, 6, 6), (4, 3, 4, 3, 2), {"padding": "same", "dilation": (1, 2, 1)}),
        ((2, 3, 4, 5, 5), (4, 3, 1, 1, 1), {"stride": 2}),
        ((1, 2, 3, 3, 3), (4, 2, 3, 3, 3), {"padding": 5, "stride": 3}),
        ((3, 4, 5, 6), (4, 3, 2, 2, 2), {}),
        ((0, 3, 4, 5, 6), (4, 3, 2, 2, 2), {}),
    ],
    ids=str,
)
@pytest.mark.parametrize("memory", ["c", "channels_last"])
def test_conv3d(x, w, options, memory):
    memory = memory if len(x) == 5 else "c"
    function("conv3d", [draw(*x), draw(*w), draw(w[0])], memory=memory, **options)
    function("conv3d", [draw(*x), draw(*w), None], memory=memory, dtype="float32", **options)


@pytest.mark.parametrize(
    ("x", "w", "options"),
    [
        ((2, 4, 5, 6), (4, 3, 3, 3), {}),
        ((2, 4, 5, 6), (4, 3, 3, 2), {"stride": (2, 3), "padding": (1, 0), "output_padding": (1, 2)}),
        ((2, 4, 5, 6), (4, 3, 3, 3), {"stride": 2, "padding": 1, "dilation": (2, 1), "groups": 2, "output_padding": 1}),
        ((2, 4, 5, 6), (4, 3, 3, 3), {"stride": 1, "dilation": 3, "output_padding": (2, 1)}),
        ((2, 4, 3, 3), (4, 3, 2, 2), {"stride": 4, "padding": 1}),
        ((2, 16, 8, 8), (16, 8, 4, 4), {"stride": 2, "padding": 1}),
        ((4, 5, 6), (4, 3, 3, 3), {"stride": 2}),
        ((0, 4, 5, 6), (4, 3, 3, 3), {"stride": 2}),
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_conv_transpose2d(x, w, options, dtype):
    channels = w[1] * options.get("groups", 1)
    function("conv_transpose2d", [draw(*x), draw(*w), draw(channels)], dtype=dtype, **options)
    function("conv_transpose2d", [draw(*x), draw(*w), None], dtype=dtype, memory="channels_last" if len(x) == 4 else "c", **options)


@pytest.mark.parametrize(
    "options", [{}, {"stride": 3, "padding": 1, "output_padding": 2}, {"stride": 2, "dilation": 2, "groups": 2}], ids=str
)
def test_conv_transpose1d(options):
    function("conv_transpose1d", [draw(2, 4, 7), draw(4, 3, 3), draw(3 * options.get("groups", 1))], **options)


@pytest.mark.parametrize(
    ("name", "args", "options", "shape"),
    [
        ("Conv1d", (4, 6, 3), {"padding": 1, "bias": False}, (2, 4, 9)),
        ("Conv1d", (4, 6, 3), {"padding": 2, "padding_mode": "circular", "groups": 2}, (2, 4, 9)),
        ("Conv2d", (4, 6, 3), {"padding": (1, 2), "padding_mode": "reflect"}, (2, 4, 9, 8)),
        ("Conv2d", (4, 6, (3, 4)), {"padding": "same", "padding_mode": "replicate", "dilation": (2, 1)}, (2, 4, 9, 8)),
        ("Conv2d", (4, 6, 3), {"padding": 2, "padding_mode": "circular", "stride": 2}, (2, 4, 9, 8)),
        ("Conv2d", (4, 6, 3), {"padding": "valid", "padding_mode": "reflect"}, (2, 4, 9, 8)),
        ("Conv2d", (4, 6, 3), {"padding": 1, "padding_mode": "reflect"}, (4, 9, 8)),
        ("Conv3d", (2, 4, 3), {"padding": 1, "stride": 2}, (2, 2, 5, 6, 7)),
        ("Conv3d", (2, 4, 3), {"padding": (1, 0, 2), "padding_mode": "replicate"}, (2, 2, 5, 6, 7)),
        ("ConvTranspose1d", (4, 6, 3), {"stride": 2, "output_padding": 1}, (2, 4, 9)),
        ("ConvTranspose2d", (4, 6, 3), {"stride": 2, "padding": 1, "output_padding": 1, "groups": 2, "bias": False}, (2, 4, 5, 6)),
        ("BatchNorm3d", (4,), {}, (3, 4, 2, 3, 3)),
    ],
    ids=str,
)
def test_layers(name, args, options, shape):
    layer(name, args, options, *shape)


def test_output_size_of_conv_transpose():
    ours, theirs = nn.ConvTranspose2d(3, 2, 3, stride=2, padding=1), torch.nn.ConvTranspose2d(3, 2, 3, stride=2, padding=1)
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    x = draw(2, 3, 5, 5).astype("float32")
    for size in ((9, 10), (2, 2, 10, 9)):
        close(ours(lamella.tensor(x), size), theirs(torch.from_numpy(x), size), "float32")
    with pytest.raises(ValueError, match="output_size"):
        ours(lamella.tensor(x), (11, 11))


# Pooling


@pytest.mark.parametrize(
    ("name", "args", "options"),
    [
        ("max_pool1d", (3,), {"stride": 2, "padding": 1, "ceil_mode": True}),
        ("max_pool1d", (2,), {"dilation": 3, "stride": 1}),
        ("avg_pool1d", (3,), {"stride": 2, "padding": 1, "count_include_pad": False}),
        ("avg_pool1d", (4,), {"ceil_mode": True}),
        ("lp_pool1d", (2, 3), {"stride": 2}),
        ("adaptive_avg_pool1d", (4,), {}),
        ("adaptive_max_pool1d", (3,), {}),
    ],
    ids=str,
)
@pytest.mark.parametrize("shape", [(2, 5, 11), (4, 9)], ids=str)
def test_pool1d(name, args, options, shape):
    function(name, [draw(*shape)], *args, **options)
    if "max" in name:
        out, places = getattr(F, name)(draw(*shape), *args, **options, return_indices=True)
        want, where = getattr(T, name)(torch.from_numpy(draw(*shape)), *args, **options, return_indices=True)
        np.testing.assert_array_equal(places, where.numpy())
        np.testing.assert_array_equal(out, want.numpy())


@pytest.mark.parametrize("name", ["MaxPool1d", "AvgPool1d", "LPPool1d", "AdaptiveAvgPool1d", "AdaptiveMaxPool1d"])
def test_pool1d_layers(name):
    layer(name, (2, 3) if name.startswith("LP") else (3,), {}, 2, 4, 9)


@pytest.mark.parametrize(
    ("axes", "shape", "args", "size"),
    [
        (1, (2, 3, 9), (2,), None),
        (1, (2, 3, 9), (3, 2, 1), (9,)),
        (2, (2, 3, 9, 8), (2,), (9, 8)),
        (2, (2, 3, 9, 8), (3, 2, 1), (2, 3, 9, 8)),
        (2, (3, 8, 8), (2,), None),
        (2, (2, 3, 8, 6), ((2, 3), (2, 3)), None),
    ],
    ids=str,
)
def test_max_unpool(axes, shape, args, size):
    x = np.random.default_rng(0).permutation(int(np.prod(shape))).reshape(shape).astype("float64")
    lx, tx = lamella.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    out, places = getattr(F, f"max_pool{axes}d")(lx, *args, return_indices=True)
    want, where = getattr(T, f"max_pool{axes}d")(tx, *args, return_indices=True)
    out, want = (
        getattr(F, f"max_unpool{axes}d")(out, places, *args, output_size=size),
        getattr(T, f"max_unpool{axes}d")(want, where, *args, output_size=size),
    )
    close(out, want)
    g = draw(*out.shape)
    out.backward(g)
    want.backward(torch.from_numpy(g))
    close(lx.grad, tx.grad)


# Borders and sizes


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
@pytest.mark.parametrize(
    ("shape", "widths"),
    [((2, 3, 5, 6), (1, 2, 3, 0)), ((2, 3, 5, 6), (0, 3)), ((2, 3, 7), (2, 4)), ((3, 4, 4), (3, 3, 1, 2)), ((2, 2, 4, 5, 3), (1, 2, 3, 1, 0, 2)),
     ((2, 3, 5, 6), (-1, 2, 1, -2))],
    ids=str,
)  # fmt: skip
def test_pad(mode, shape, widths):
    if len(widths) // 2 < len(shape) - 2 and mode != "constant":
        shape = shape[1:]
    for memory in ("c", "channels_last") if len(shape) == 4 else ("c",):
        function("pad", [draw(*shape)], widths, mode, memory=memory)


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("kind", ["Zero", "Constant", "Reflection", "Replication", "Circular"])
def test_padding_layers(kind, axes):
    value = (1.5,) if kind == "Constant" else ()
    layer(f"{kind}Pad{axes}d", (2, *value), {}, 2, 3, *(4,) * axes)
    layer(
        f"{kind}Pad{axes}d",
        (tuple(range(2 * axes))[::-1] if axes == 1 else (1, 2, 0, 3, 1, 1)[: 2 * axes], *value),
        {},
        2,
        3,
        *(4, 5, 6)[:axes],
    )


INTERPOLATIONS = [
    ("nearest", {}),
    ("nearest-exact", {}),
    ("linear", {"align_corners": False}),
    ("linear", {"align_corners": True}),
]


@pytest.mark.parametrize(("mode", "options"), INTERPOLATIONS, ids=str)
@pytest.mark.parametrize("shape", [(2, 3, 7), (2, 3, 5, 6), (1, 2, 3, 4, 5), (2, 3, 1, 4)], ids=str)
@pytest.mark.parametrize(
    "how",
    [{"size": 9}, {"size": 2}, {"scale_factor": 2}, {"scale_factor": 1.7}, {"scale_factor": 1.3, "recompute_scale_factor": True}],
    ids=str,
)
def test_interpolate(mode, options, shape, how):
    mode = {3: "linear", 4: "bilinear", 5: "trilinear"}[len(shape)] if mode == "linear" else mode
    function("interpolate", [draw(*shape)], mode=mode, **options, **how)


def test_interpolate_float32_and_sizes_per_axis():
    for mode, options in (("nearest", {}), ("bilinear", {"align_corners": True}), ("bilinear", {})):
        for memory in ("c", "channels_last"):
            function("interpolate", [draw(2, 3, 5, 6)], (7, 3), mode=mode, memory=memory, dtype="float32", **options)


@pytest.mark.parametrize("special", [np.nan, np.inf])
def test_interpolation_of_special_values(special):
    x = draw(1, 2, 4, 4)
    x[0, 1, 1, 2] = special
    for mode in ("nearest", "bilinear"):
        ours, theirs = F.interpolate(x, scale_factor=2, mode=mode), T.interpolate(torch.from_numpy(x), scale_factor=2, mode=mode)
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-10)


@pytest.mark.parametrize("memory", ["c", "channels_last"])
def test_pixel_shuffle(memory):
    function("pixel_shuffle", [draw(2, 18, 4, 5)], 3, memory=memory)
    function("pixel_unshuffle", [draw(2, 3, 8, 6)], 2, memory=memory)
    function("pixel_shuffle", [draw(4, 4, 5)], 2)
    assert F.pixel_shuffle(draw(0, 4, 4, 5), 2).shape == (0, 1, 8, 10)


@pytest.mark.parametrize(
    ("name", "args", "options", "shape"),
    [
        ("Upsample", (), {"scale_factor": 2, "mode": "bilinear"}, (2, 3, 4, 5)),
        ("Upsample", ((7, 9),), {}, (2, 3, 4, 5)),
        ("PixelShuffle", (2,), {}, (2, 8, 3, 4)),
        ("PixelUnshuffle", (2,), {}, (2, 2, 4, 6)),
        ("Unflatten", (1, (2, 3)), {}, (4, 6, 2)),
    ],
    ids=str,
)
def test_other_layers(name, args, options, shape):
    layer(name, args, options, *shape)


# Normalisation


@pytest.mark.parametrize("shape", [(4, 7), (2, 3, 5, 6), (3, 1000), (0, 4), (70, 3, 8)], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_layer_norm(shape, dtype):
    for axes in range(1, min(len(shape), 4)):
        last = shape[-axes:]
        for memory in ("c", "channels_last") if len(shape) == 4 else ("c",):
            function("layer_norm", [draw(*shape)], last, dtype=dtype, memory=memory)
            ours, theirs = nn.LayerNorm(last), torch.nn.LayerNorm(last)
            function("layer_norm_", [draw(*shape), draw(*last), draw(*last)], last, dtype=dtype, memory=memory)
            function("rms_norm_", [draw(*shape), draw(*last)], last, dtype=dtype, memory=memory)
            assert repr(ours) == repr(theirs)


@pytest.mark.parametrize(
    ("shape", "groups"), [((3, 6), 3), ((2, 6, 5), 2), ((2, 32, 7, 6), 8), ((2, 6, 3, 4, 2), 6), ((1, 3, 4, 4), 1)], ids=str
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_group_norm(shape, groups, dtype):
    for memory in ("c", "channels_last") if len(shape) == 4 else ("c",):
        function("group_norm", [draw(*shape)], groups, dtype=dtype, memory=memory, eps=0.01)
        function("group_norm_", [draw(*shape), draw(shape[1]), draw(shape[1])], groups, dtype=dtype, memory=memory)


@pytest.mark.parametrize(
    ("name", "args", "options", "shape"),
    [
        ("LayerNorm", (8,), {}, (2, 3, 8)),
        ("LayerNorm", ((3, 8),), {"eps": 0.1, "bias": False}, (2, 3, 8)),
        ("LayerNorm", ((3, 8),), {"elementwise_affine": False}, (2, 3, 8)),
        ("RMSNorm", (8,), {}, (2, 3, 8)),
        ("RMSNorm", ((3, 8),), {"eps": 0.1, "elementwise_affine": False}, (2, 3, 8)),
        ("GroupNorm", (2, 6), {}, (2, 6, 4, 5)),
        ("GroupNorm", (3, 6), {"affine": False}, (2, 6, 4, 5)),
        ("InstanceNorm1d", (6,), {}, (2, 6, 5)),
        ("InstanceNorm2d", (6,), {"affine": True, "track_running_stats": True, "momentum": 0.3}, (2, 6, 4, 5)),
        ("InstanceNorm2d", (6,), {"affine": True}, (6, 4, 5)),
        ("InstanceNorm3d", (6,), {"eps": 0.1}, (2, 6, 4, 5, 3)),
        ("LocalResponseNorm", (3,), {}, (2, 6, 4, 5)),
        ("LocalResponseNorm", (4, 0.5, 0.6, 2.0), {}, (2, 6, 4)),
        ("LocalResponseNorm", (9,), {"alpha": 0.3}, (2, 6, 4, 3, 2)),
    ],
    ids=str,
)
@pytest.mark.parametrize("train", [True, False])
def test_norm_layers(name, args, options, shape, train):
    layer(name, args, options, *shape, train=train)


@pytest.mark.parametrize("special", [np.nan, np.inf])
def test_normalisation_of_special_values(special):
    x = draw(3, 4, 5, 5)
    x[1, 2, 3, 3] = special
    for ours, theirs in (
        (F.group_norm(x, 2), T.group_norm(torch.from_numpy(x), 2)),
        (F.layer_norm(x, (5,)), T.layer_norm(torch.from_numpy(x), (5,))),
        (F.instance_norm(x), T.instance_norm(torch.from_numpy(x))),
    ):
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-10, atol=1e-10)
