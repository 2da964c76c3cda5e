"""Modules: what they hold, how they load, look and fail; initialisation; the summary."""

import copy
import pickle

import numpy as np
import pytest

import lamella
import lamella.functional as F
from lamella import nn
from lamella.nn import init


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 3)
        self.register_buffer("scale", lamella.ones(3))
        self.register_buffer("cache", lamella.zeros(2), persistent=False)
        self.extra = None

    def forward(self, x):
        return F.relu(self.fc(x)) * self.scale


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 3), Block())
        self.heads = nn.ModuleList([nn.Linear(3, 2), nn.Linear(3, 2, bias=False)])
        self.gain = nn.Parameter(lamella.ones(1))
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        x = self.drop(self.body(x))
        return (self.heads[0](x) + self.heads[1](x)) * self.gain


NAMES = ["gain", "body.0.weight", "body.0.bias", "body.1.fc.weight", "body.1.fc.bias", "heads.0.weight", "heads.0.bias", "heads.1.weight"]


# What a Module holds


def test_names():
    net = Net()
    assert [name for name, _ in net.named_parameters()] == NAMES
    assert [name for name, _ in net.named_parameters(prefix="net", recurse=False)] == ["net.gain"]
    assert [name for name, _ in net.named_buffers()] == ["body.1.scale", "body.1.cache"]
    assert [name for name, _ in net.named_children()] == ["body", "heads", "drop"]
    assert [name for name, _ in net.named_modules()] == ["", "body", "body.0", "body.1", "body.1.fc", "heads", "heads.0", "heads.1", "drop"]
    assert len(list(net.modules())) == 9
    assert list(net.state_dict()) == ["gain", *NAMES[1:3], "body.1.scale", *NAMES[3:]]
    assert net.get_submodule("body.1.fc") is net.body[1].fc
    assert net.get_parameter("body.0.weight") is net.body[0].weight
    assert net.get_buffer("body.1.scale") is net.body[1].scale
    for call, name in [(net.get_submodule, "body.7"), (net.get_parameter, "body.bias"), (net.get_buffer, "gain")]:
        with pytest.raises(AttributeError, match=name.split(".")[-1]):
            call(name)


def test_shared_modules_and_parameters_count_once():
    net = nn.Module()
    net.a = nn.Linear(2, 2)
    net.b = net.a
    net.c = nn.Linear(2, 2)
    net.c.weight = net.a.weight
    assert [name for name, _ in net.named_parameters()] == ["a.weight", "a.bias", "c.bias"]
    assert len(list(net.named_parameters(remove_duplicate=False))) == 6
    assert list(net.state_dict()) == ["a.weight", "a.bias", "b.weight", "b.bias", "c.weight", "c.bias"]
    assert [name for name, _ in net.named_modules()] == ["", "a", "c"]
    assert len(list(net.children())) == 2


def test_attributes_are_filed_by_what_they_are():
    net = nn.Module()
    net.x = nn.Parameter([1.0])
    net.x = nn.Parameter([2.0])
    assert list(net._parameters) == ["x"]
    with pytest.raises(TypeError, match=r"cannot assign 'Tensor' as parameter 'x' \(lamella.nn.Parameter or None expected\)"):
        net.x = lamella.ones(1)
    net.x = None
    assert net.x is None
    net.x = nn.Linear(1, 1)
    assert not net._parameters
    with pytest.raises(TypeError, match="cannot assign 'int' as child module 'x'"):
        net.x = 3
    net.y = 3
    net.y = nn.Parameter([1.0])
    assert "y" not in net.__dict__
    net.register_buffer("z", np.ones(2))
    net.z = lamella.zeros(2)
    assert net._buffers["z"] is net.z
    with pytest.raises(TypeError, match="cannot assign 'int' as buffer 'z'"):
        net.z = 3
    del net.x, net.y, net.z
    assert not net._parameters and not net._modules and not net._buffers
    with pytest.raises(AttributeError, match="'Module' object has no attribute 'x'"):
        net.x  # noqa: B018
    assert "training" in dir(net)


def test_names_that_cannot_be():
    net = nn.Module()
    for call in (net.register_buffer, net.register_parameter, net.add_module):
        with pytest.raises(KeyError, match=r"can.*t contain .*got: a\.b"):
            call("a.b", None)
        with pytest.raises(KeyError, match="t be empty"):
            call("", None)
        with pytest.raises(KeyError, match="attribute 'training' already exists"):
            call("training", None)
        with pytest.raises(TypeError, match="name should be a string"):
            call(3, None)
    with pytest.raises(TypeError, match="is not a Module subclass"):
        net.add_module("a", 3)
    with pytest.raises(TypeError, match="to parameter 'a'"):
        net.register_parameter("a", lamella.ones(1))

    class Early(nn.Module):
        def __init__(self):
            self.fc = nn.Linear(1, 1)

    with pytest.raises(AttributeError, match=r"cannot assign modules before Module.__init__\(\) call"):
        Early()


def test_modes():
    net = Net()
    assert net.eval() is net
    assert not any(module.training for module in net.modules())
    x = lamella.randn(2, 4)
    assert (net(x) == net(x)).all()
    net.train()
    assert all(module.training for module in net.modules())
    with pytest.raises(ValueError, match="boolean"):
        net.train(1)


def test_zero_grad_and_freezing():
    net = Net()
    net(lamella.randn(2, 4)).sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    net.zero_grad(set_to_none=False)
    assert all(not p.grad.data.any() for p in net.parameters())
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())
    net.requires_grad_(False)
    assert not net(lamella.randn(2, 4)).requires_grad
    net.heads.requires_grad_()
    net(lamella.randn(2, 4)).sum().backward()
    assert net.gain.grad is None
    assert net.heads[0].bias.grad is not None


def test_apply_visits_children_first():
    seen = []
    net = Net()
    assert net.apply(lambda m: seen.append(type(m).__name__)) is net
    assert seen == ["Linear", "Linear", "Block", "Sequential", "Linear", "Linear", "ModuleList", "Dropout", "Net"]


def test_dtype():
    net = Net()
    parameter = net.gain
    net.register_buffer("count", lamella.tensor(3))
    net(lamella.randn(2, 4)).sum().backward()
    assert net.double() is net
    assert {p.dtype for p in net.parameters()} == {np.dtype("float64")}
    assert net.gain is parameter
    assert net.gain.grad.dtype == np.float64
    assert net.body[1].scale.dtype == np.float64
    assert net.count.dtype == np.int64
    net(lamella.randn(2, 4, dtype="float64"))
    assert net.float().to("cpu").gain.dtype == np.float32
    assert net.to(np.float64).gain.dtype == np.float64
    for bad in ("int64", "cuda", "float16"):
        with pytest.raises(TypeError, match="to: expected float32 or float64"):
            net.to(bad)


def test_parameter():
    p = nn.Parameter(np.ones(2))
    assert p.requires_grad and p.is_leaf
    assert repr(p) == "Parameter containing:\ntensor([1., 1.], dtype=float64, requires_grad=True)"
    assert type(p * 2) is lamella.Tensor
    assert not nn.Parameter([1.0], requires_grad=False).requires_grad
    with pytest.raises(RuntimeError, match="only float32 and float64"):
        nn.Parameter([1, 2])


def test_copies():
    net = Net()
    net(lamella.randn(2, 4)).sum().backward()
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert [name for name, _ in other.named_parameters()] == NAMES
        for a, b in zip(net.parameters(), other.parameters()):
            assert type(b) is nn.Parameter and a is not b
            np.testing.assert_array_equal(a.data, b.data)
            assert not np.shares_memory(a.data, b.data)


def test_hooks():
    net = nn.Linear(2, 2)
    seen = []
    handle = net.register_forward_hook(lambda module, args, out: seen.append((module, args[0].shape, out.shape)))
    net(lamella.ones(3, 2))
    assert seen == [(net, (3, 2), (3, 2))]
    handle.remove()
    net.register_forward_hook(lambda module, args, out: out * 0)
    assert not net(lamella.ones(3, 2)).data.any()
    assert len(seen) == 1


def test_without_forward():
    with pytest.raises(NotImplementedError, match='is missing the required "forward" function'):
        nn.Module()(1)


# Lists


def test_sequential():
    net = nn.Sequential(nn.Linear(2, 3), nn.Identity())
    assert net.append(nn.Linear(3, 4)) is net
    assert len(net) == 3
    assert net[-1] is net[2]
    assert [type(m).__name__ for m in net[1:]] == ["Identity", "Linear"]
    assert isinstance(net[:1], nn.Sequential)
    assert net[1:][1] is net[2]
    assert list(net[1:]._modules) == ["1", "2"]  # as PyTorch, a slice keeps the names
    net[1] = nn.Dropout()
    assert isinstance(net[1], nn.Dropout)
    net.insert(0, nn.Flatten())
    assert list(net._modules) == ["0", "1", "2", "3"]
    assert isinstance(net.pop(0), nn.Flatten)
    del net[1]
    assert [type(m).__name__ for m in net] == ["Linear", "Linear"]
    assert net(lamella.ones(5, 2)).shape == (5, 4)
    named = nn.Sequential({"a": nn.Linear(2, 2), "b": nn.Identity()})
    assert named.a is named[0]
    for bad in (2, -3):
        with pytest.raises(IndexError, match="is out of range: Sequential has 2 modules"):
            named[bad]
    with pytest.raises(TypeError, match="function is not a Module subclass"):
        nn.Sequential(F.relu)


def test_module_list():
    layers = nn.ModuleList(nn.Linear(2, 2) for _ in range(3))
    layers.extend([nn.Identity()])
    assert len(layers) == 4 and isinstance(layers[1:], nn.ModuleList)
    assert len(list(layers.parameters())) == 6
    with pytest.raises(NotImplementedError):
        layers(1)


# State


def test_state_dict_shares_memory_and_loads_back():
    net, other = Net(), Net()
    state = net.state_dict()
    assert all(type(v) is lamella.Tensor and not v.requires_grad for v in state.values())
    assert np.shares_memory(state["gain"].data, net.gain.data)
    assert repr(other.load_state_dict(state)) == "<All keys matched successfully>"
    for name, p in other.named_parameters():
        np.testing.assert_array_equal(p.data, state[name].data)
        assert not np.shares_memory(p.data, state[name].data)
    arrays = {name: np.array(v) for name, v in state.items()}
    Net().double().load_state_dict(arrays)


def test_load_state_dict_errors():
    net = Net()
    before = {name: v.numpy().copy() for name, v in net.state_dict().items()}
    bad = {name: v + 1 for name, v in before.items()}
    del bad["gain"], bad["heads.0.bias"]
    bad["heads.0.weight"] = np.ones((2, 4))
    bad["body.0.weight"] = np.ones(3)
    bad["body.2.weight"] = np.ones(3)
    with pytest.raises(RuntimeError) as caught:
        net.load_state_dict(bad)
    assert str(caught.value) == (
        "Error(s) in loading state_dict for Net:\n"
        '\tMissing key(s) in state_dict: "gain", "heads.0.bias". \n'
        '\tUnexpected key(s) in state_dict: "body.2.weight". \n'
        "\tsize mismatch for body.0.weight: copying a param with shape (3,) from checkpoint, the shape in current model is (3, 4).\n"
        "\tsize mismatch for heads.0.weight: copying a param with shape (2, 4) from checkpoint, the shape in current model is (2, 3)."
    )
    for name, v in net.state_dict().items():
        np.testing.assert_array_equal(v.numpy(), before[name])  # nothing was changed
    with pytest.raises(RuntimeError, match="size mismatch"):
        net.load_state_dict(bad, strict=False)
    del bad["heads.0.weight"], bad["body.0.weight"]
    keys = net.load_state_dict(bad, strict=False)
    assert keys.missing_keys == ["gain", "body.0.weight", "heads.0.weight", "heads.0.bias"]
    assert keys.unexpected_keys == ["body.2.weight"]
    with pytest.raises(TypeError, match="dict-like"):
        net.load_state_dict([1])
    with pytest.raises(RuntimeError, match="gain: expected an array of numbers, got str"):
        net.load_state_dict({**before, "gain": "a"})


def test_loading_counts_as_a_change_in_place():
    net = nn.Linear(2, 2)
    y = net(lamella.ones(1, 2, requires_grad=True)).sum()
    net.load_state_dict(net.state_dict())
    with pytest.raises(RuntimeError, match="linear needs a value that was changed in place"):
        y.backward()


# Errors name the layer


def test_error_in_a_layer():
    net = Net()
    net.heads[1] = nn.Linear(5, 2)
    with pytest.raises(ValueError) as caught:
        net(lamella.ones(1, 4))
    assert str(caught.value) == (
        "heads.1 (Linear(in_features=5, out_features=2, bias=True)): "
        "linear: expected input with 5 features (its last axis), as weight (2, 5) has; got shape (1, 3)"
    )
    assert type(caught.value) is ValueError


def test_error_in_the_outermost_layer():
    with pytest.raises(ValueError, match=r"^Linear\(in_features=5, out_features=2, bias=True\): linear: expected"):
        nn.Linear(5, 2)(lamella.ones(1, 4))


def test_error_in_the_forward_of_a_network_names_it_without_its_children():
    net = nn.Sequential(nn.Identity(), Block())
    net[1].scale = lamella.ones(7)
    with pytest.raises(ValueError, match=r"^1 \(Block\): mul: shapes \(2, 3\) and \(7,\) do not broadcast"):
        net(lamella.ones(2, 3))


@pytest.mark.parametrize("error", [ValueError("a", 1), UnicodeDecodeError("utf-8", b"a", 0, 1, "b"), KeyError("a"), RuntimeError()])
def test_errors_with_texts_of_their_own_pass_unchanged(error):
    class Bad(nn.Module):
        def forward(self, x):
            raise error

    text = str(error)
    with pytest.raises(type(error)) as caught:
        nn.Sequential(Bad())(1)
    assert caught.value is error
    assert str(error) == text


def test_an_error_that_was_handled_inside_is_not_seen():
    class Tries(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(5, 2)
            self.b = nn.Linear(4, 2)

        def forward(self, x):
            try:
                return self.a(x)
            except ValueError:
                return self.b(x)

    assert Tries()(lamella.ones(1, 4)).shape == (1, 2)


# Initialisation


def statistics(call, *shape):
    lamella.manual_seed(0)
    w = lamella.empty(*shape)
    assert call(w) is w
    return w.data.astype(np.float64)


@pytest.mark.parametrize(
    ("call", "low", "high", "std"),
    [
        (lambda w: init.uniform_(w, -2, 3), -2, 3, 5 / 12**0.5),
        (lambda w: init.normal_(w, 0, 2), -np.inf, np.inf, 2),
        (lambda w: init.trunc_normal_(w, 0, 1, -1, 1), -1, 1, 0.5396),
        (lambda w: init.xavier_uniform_(w, 2), -2 * (6 / 450) ** 0.5, 2 * (6 / 450) ** 0.5, 2 * (2 / 450) ** 0.5),
        (lambda w: init.xavier_normal_(w), -np.inf, np.inf, (2 / 450) ** 0.5),
        (lambda w: init.kaiming_uniform_(w, a=5**0.5), -1 / 15, 1 / 15, 1 / 15 / 3**0.5),
        (lambda w: init.kaiming_uniform_(w, nonlinearity="relu"), -((6 / 225) ** 0.5), (6 / 225) ** 0.5, (2 / 225) ** 0.5),
        (lambda w: init.kaiming_normal_(w, mode="fan_out", nonlinearity="relu"), -np.inf, np.inf, (2 / 225) ** 0.5),
        (lambda w: init.kaiming_normal_(w, nonlinearity="tanh"), -np.inf, np.inf, 5 / 3 / 15),
        (lambda w: init.default_weight_(w), -1 / 15, 1 / 15, 1 / 15 / 3**0.5),
    ],
)
def test_random_initialisation(call, low, high, std):
    w = statistics(call, 25, 25, 3, 3)
    assert w.min() >= low * (1 + 1e-6) if low < 0 else True
    assert w.max() <= high * (1 + 1e-6)
    assert w.std() == pytest.approx(std, rel=0.04)
    if np.isfinite(high):
        assert w.max() > 0.95 * high


def test_fixed_initialisation():
    w = lamella.empty(3, 3)
    assert (init.constant_(w, 2) == 2).all()
    assert (init.ones_(w) == 1).all()
    assert (init.zeros_(w) == 0).all()
    assert init.eye_(w).sum().item() == 3
    w = init.orthogonal_(lamella.empty(8, 3, 2, 2), gain=2).flatten(1)
    np.testing.assert_allclose((w @ w.T).numpy(), 4 * np.eye(8), atol=1e-5)
    w = init.orthogonal_(lamella.empty(8, 3))
    np.testing.assert_allclose((w.T @ w).numpy(), np.eye(3), atol=1e-6)
    assert init.dirac_(lamella.empty(4, 2, 3, 3), groups=2).sum().item() == 4


def test_initialisation_is_not_recorded_and_counts_as_a_change():
    p = nn.Parameter(lamella.ones(3))
    y = (p * p).sum()
    init.zeros_(p)
    assert p.is_leaf
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()


def test_initialisation_repeats():
    lamella.manual_seed(3)
    a = Net().state_dict()
    lamella.manual_seed(3)
    b = Net().state_dict()
    assert all((a[name] == b[name]).all() for name in a)


def test_initialisation_errors():
    with pytest.raises(
        ValueError, match="xavier_uniform_: fan in and fan out can not be computed for a tensor with fewer than 2 dimensions"
    ):
        init.xavier_uniform_(lamella.empty(3))
    with pytest.raises(ValueError, match="mode must be"):
        init.kaiming_normal_(lamella.empty(3, 3), mode="fan")
    with pytest.raises(ValueError, match="Unsupported nonlinearity gelu"):
        init.calculate_gain("gelu")


def test_linear_starts_as_documented():
    lamella.manual_seed(0)
    layer = nn.Linear(100, 50)
    for p in layer.parameters():
        assert 0.08 < abs(p).max().item() <= 0.1
    assert nn.Linear(0, 3)(lamella.ones(2, 0)).shape == (2, 3)
    with pytest.raises(ValueError, match="Linear: in_features must be an integer"):
        nn.Linear(2.5, 3)


# The summary


def test_summary():
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, groups=1, bias=False), nn.BatchNorm2d(8), nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(), nn.Linear(8 * 9, 5)
    )
    net[1].eval()
    s = lamella.summary(net, (3, 8, 8))
    assert [layer.output_shape for layer in s.layers] == [(8, 6, 6), (8, 6, 6), (8, 3, 3), (72,), (72,), (5,)]
    assert [layer.flops for layer in s.layers] == [8 * 36 * 2 * 27, 2 * 288, 4 * 72, 0, 0, 5 * (2 * 72 + 1)]
    assert [layer.parameters for layer in s.layers] == [216, 16, 0, 0, 0, 365]
    assert s.layers[0].activation_bytes == 288 * 4
    assert s.layers[4].activation_bytes == 0  # the input itself
    assert (s.parameters, s.trainable, s.parameter_bytes) == (597, 597, 4 * 597)
    assert [module.training for module in net] == [True, False, True, True, True, True]
    assert not net[0]._forward_hooks
    text = str(s)
    assert "0 (Conv2d)" in text and "597" in text and len(set(map(len, text.split("\n")[2:8]))) == 1


def test_summary_of_shared_and_frozen_layers():
    fc = nn.Linear(3, 3).double()
    fc.bias.requires_grad_(False)
    s = lamella.summary(nn.Sequential(fc, nn.Sequential(fc)), (3,))
    assert [layer.parameters for layer in s.layers] == [12, 0]
    assert (s.parameters, s.trainable) == (12, 9)
    assert "3 of them frozen" in str(s)


def test_summary_errors():
    net = nn.Sequential(nn.Linear(3, 3))
    with pytest.raises(ValueError, match=r"0 \(Linear\(in_features=3"):
        lamella.summary(net, (4,))
    assert not net[0]._forward_hooks and net.training
    with pytest.raises(TypeError, match="summary: expected a Module, got int"):
        lamella.summary(3, (4,))
    with pytest.raises(ValueError, match="without the batch"):
        lamella.summary(net, (-1, 4))


# PyTorch


def pairs(torch):
    ours, theirs = {}, {}
    for out, m in ((ours, nn), (theirs, torch.nn)):
        out["linear"] = m.Linear(4, 3, bias=False)
        out["empty"] = m.Sequential()
        out["list"] = m.ModuleList()
        out["layers"] = m.ModuleList([m.Linear(2, 2), m.Linear(2, 2), m.Sequential(m.Identity(), m.Dropout(0.25)), m.Dropout()])
        out["conv"] = m.Sequential(
            m.Conv2d(1, 6, 5, padding=2), m.Conv2d(6, 4, (3, 1), stride=2, dilation=2, groups=2, bias=False), m.Flatten(), m.Flatten(0, 2)
        )
        out["pool"] = m.Sequential(
            m.MaxPool2d(2), m.AvgPool2d(3, 2), m.AdaptiveAvgPool2d((1, 1)), m.LPPool2d(2, 2), m.BatchNorm2d(4), m.BatchNorm1d(3)
        )

        class Nested(m.Module):
            def __init__(self, m=m):
                super().__init__()
                self.block = m.Sequential()
                self.block.add_module("fc", m.Linear(2, 2))
                self.out = m.ModuleList([m.Linear(2, 1)])
                self.none = m.Linear(1, 1)
                self.none = None

            def extra_repr(self):
                return "depth=2\nwidth=3"

        out["nested"] = Nested()
    return ours, theirs


@pytest.mark.oracle
def test_repr_is_pytorchs():
    ours, theirs = pairs(pytest.importorskip("torch"))
    for name in ours:
        assert repr(ours[name]) == repr(theirs[name]), name


@pytest.mark.oracle
def test_state_dict_of_pytorch():
    torch = pytest.importorskip("torch")
    ours, theirs = pairs(torch)
    for name in ours:
        state = theirs[name].state_dict()
        assert list(ours[name].state_dict()) == list(state)
        ours[name].load_state_dict({key: value.numpy() for key, value in state.items()})
        for key, value in ours[name].state_dict().items():
            np.testing.assert_array_equal(value.numpy(), state[key].numpy())
            assert str(value.dtype) == str(state[key].dtype).removeprefix("torch.")
    x = np.random.default_rng(0).standard_normal((5, 4)).astype("float32")
    y = ours["linear"](lamella.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(y, theirs["linear"](torch.tensor(x)).detach().numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.oracle
@pytest.mark.parametrize("name", ["calculate_gain"])
@pytest.mark.parametrize(
    ("nonlinearity", "param"), [("linear", None), ("sigmoid", None), ("tanh", None), ("relu", None), ("leaky_relu", 0.3), ("selu", None)]
)
def test_gain(name, nonlinearity, param):
    torch = pytest.importorskip("torch")
    assert init.calculate_gain(nonlinearity, param) == pytest.approx(torch.nn.init.calculate_gain(nonlinearity, param), rel=1e-12)
