"""Optimizers and schedules against PyTorch: trajectories of 100 steps, 200 steps of every schedule, exact continuation."""

import copy
import json

import numpy as np
import pytest

import lamella
from lamella.optim import SGD, Adadelta, Adagrad, Adam, Adamax, AdamW, Lion, NAdam, NormalizedGD, Optimizer, RAdam, RMSprop, lr_scheduler

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.oracle

SHAPES = [(5,), (4, 3, 3, 2), (17, 9)]
BACKENDS = ["cython", "numba", "reference"]

OPTIONS = [
    (SGD, {"lr": 0.1}),
    (SGD, {"lr": 0.1, "weight_decay": 0.05}),
    (SGD, {"lr": 0.1, "momentum": 0.9}),
    (SGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.05, "maximize": True}),
    (SGD, {"lr": 0.1, "momentum": 0.9, "dampening": 0.5, "weight_decay": 0.05}),
    (SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    (SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.05}),
    (Adam, {}),
    (Adam, {"lr": 0.1, "betas": (0.8, 0.95), "eps": 1e-3}),
    (Adam, {"lr": 0.1, "weight_decay": 0.05}),
    (Adam, {"lr": 0.1, "amsgrad": True}),
    (Adam, {"lr": 0.1, "amsgrad": True, "weight_decay": 0.05, "maximize": True}),
    (Adam, {"lr": 0.1, "weight_decay": 0.05, "decoupled_weight_decay": True}),
    (AdamW, {}),
    (AdamW, {"lr": 0.1, "weight_decay": 0.1, "amsgrad": True}),
    (AdamW, {"lr": 0.1, "weight_decay": 0.1, "maximize": True}),
    (NAdam, {}),
    (NAdam, {"lr": 0.1, "weight_decay": 0.1, "momentum_decay": 0.1, "betas": (0.8, 0.95)}),
    (NAdam, {"lr": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": True, "maximize": True}),
    (RAdam, {}),
    (RAdam, {"lr": 0.1, "weight_decay": 0.1, "betas": (0.8, 0.95)}),
    (RAdam, {"lr": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": True, "maximize": True}),
    (Adamax, {}),
    (Adamax, {"lr": 0.1, "weight_decay": 0.1, "eps": 1e-3, "maximize": True}),
    (Adagrad, {}),
    (Adagrad, {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.1, "eps": 1e-3, "maximize": True}),
    (RMSprop, {}),
    (RMSprop, {"lr": 0.1, "alpha": 0.9, "eps": 1e-3, "weight_decay": 0.1, "momentum": 0.9}),
    (RMSprop, {"centered": True}),
    (RMSprop, {"momentum": 0.5, "centered": True, "maximize": True, "weight_decay": 0.1}),
    (Adadelta, {}),
    (Adadelta, {"lr": 0.1, "rho": 0.5, "eps": 1e-3, "weight_decay": 0.1, "maximize": True}),
]
IDS = [f"{kind.__name__}-{'-'.join(options) or 'defaults'}" for kind, options in OPTIONS]


def parameters(dtype, seed=0):
    rng = np.random.default_rng(seed)
    arrays = [rng.standard_normal(shape).astype(dtype) for shape in SHAPES]
    arrays[1] = np.moveaxis(np.ascontiguousarray(np.moveaxis(arrays[1], 1, -1)), -1, 1)  # channels-last
    return arrays


def gradients(steps, dtype, seed=1):
    rng = np.random.default_rng(seed)
    return [[rng.standard_normal(shape).astype(dtype) for shape in SHAPES] for _ in range(steps)]


def torch_of(optimizer_type):
    return getattr(torch.optim, optimizer_type.__name__)


def pair(kind, options, dtype):
    ours = [lamella.Tensor(a.copy(order="K"), requires_grad=True) for a in parameters(dtype)]
    theirs = [torch.tensor(np.ascontiguousarray(a), requires_grad=True) for a in parameters(dtype)]
    return ours, kind(ours, **options), theirs, torch_of(kind)(theirs, foreach=False, **options)


def feed(tensors, arrays, make):
    for t, g in zip(tensors, arrays):
        t.grad = make(g.copy())


def assert_close(ours, theirs, tolerance):
    for a, b in zip(ours, theirs):
        np.testing.assert_allclose(a.data, b.detach().numpy(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("kind", "options"), OPTIONS, ids=IDS)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-10), ("float32", 2e-3)])
def test_trajectory(kind, options, dtype, tolerance, backend):
    ours, optimizer, theirs, other = pair(kind, options, dtype)
    with lamella.use_backend(backend):
        for grads in gradients(100, dtype):
            feed(ours, grads, lamella.Tensor)
            feed(theirs, grads, torch.tensor)
            optimizer.step()
            other.step()
    assert_close(ours, theirs, tolerance)


def test_groups_and_missing_gradients():
    a, b, c = (lamella.Tensor(x, requires_grad=True) for x in parameters("float64"))
    ta, tb, tc = (torch.tensor(np.ascontiguousarray(x), requires_grad=True) for x in parameters("float64"))
    optimizer = SGD([{"params": [a, b], "lr": 0.5}, {"params": c, "momentum": 0.5, "dampening": 0.25}], lr=0.1, momentum=0.9)
    other = torch.optim.SGD([{"params": [ta, tb], "lr": 0.5}, {"params": tc, "momentum": 0.5, "dampening": 0.25}], lr=0.1, momentum=0.9)
    for i, grads in enumerate(gradients(20, "float64")):
        feed([a, b, c], grads, lamella.Tensor)
        feed([ta, tb, tc], grads, torch.tensor)
        if i % 3 == 0:
            b.grad = tb.grad = None
        optimizer.step()
        other.step()
    assert_close([a, b, c], [ta, tb, tc], 1e-12)


def test_gradient_of_another_memory_order():
    w = lamella.Tensor(parameters("float32")[1].copy(order="K"), requires_grad=True)
    g = gradients(1, "float32")[0][1]
    expected = w.data - np.float32(0.5) * g
    w.grad = lamella.Tensor(np.asfortranarray(g))
    SGD([w], lr=0.5).step()
    np.testing.assert_array_equal(w.data, expected)


def test_parameter_that_is_not_dense():
    memory = np.ones((4, 6), np.float32)
    w = lamella.Tensor(memory[:, ::2], requires_grad=True)
    w.grad = lamella.Tensor(np.ones((4, 3), np.float32))
    optimizer = SGD([w], lr=0.25, momentum=0.5)
    optimizer.step()
    optimizer.step()
    assert (memory[:, ::2] == 1 - 0.25 - 0.375).all() and (memory[:, 1::2] == 1).all()


def test_step_counts_up_the_version():
    x = lamella.Tensor(np.array([0.3, -0.2]), requires_grad=True)
    y = lamella.functional.silu(x)  # saves its input
    x.grad = lamella.Tensor(np.ones(2))
    SGD([x]).step()
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward(np.ones(2))


@pytest.mark.parametrize(("kind", "options"), OPTIONS, ids=IDS)
def test_state_dict_continues_bit_for_bit(kind, options):
    ours, optimizer, _, _ = pair(kind, options, "float32")
    steps = gradients(20, "float32")
    for grads in steps[:10]:
        feed(ours, grads, lamella.Tensor)
        optimizer.step()
    saved = copy.deepcopy(optimizer.state_dict())
    again = [lamella.Tensor(p.data.copy(order="K"), requires_grad=True) for p in ours]
    resumed = kind(again, lr=123.0)
    resumed.load_state_dict(saved)
    for grads in steps[10:]:
        feed(ours, grads, lamella.Tensor)
        feed(again, grads, lamella.Tensor)
        optimizer.step()
        resumed.step()
    for a, b in zip(ours, again):
        assert a.data.tobytes() == b.data.tobytes()


@pytest.mark.parametrize(("kind", "options"), OPTIONS, ids=IDS)
def test_state_dict_of_torch_loads(kind, options):
    ours, optimizer, theirs, other = pair(kind, options, "float64")
    steps = gradients(20, "float64")
    for grads in steps[:10]:
        feed(theirs, grads, torch.tensor)
        other.step()
    state = other.state_dict()
    keys = {number: set(values) for number, values in state["state"].items() if options.get("momentum", kind is not SGD)}
    state["state"] = {n: {k: None if v is None else v.numpy() for k, v in values.items()} for n, values in state["state"].items()}
    optimizer.load_state_dict(state)
    for p, q in zip(ours, theirs):
        p.data[...] = q.detach().numpy()
    for grads in steps[10:]:
        feed(ours, grads, lamella.Tensor)
        feed(theirs, grads, torch.tensor)
        optimizer.step()
        other.step()
    assert_close(ours, theirs, 1e-10)
    assert {number: set(values) for number, values in optimizer.state_dict()["state"].items()} == keys


def test_closure_and_zero_grad():
    w = lamella.Tensor(np.array([0.5, -1.0]), requires_grad=True)
    optimizer = SGD([w], lr=1.0)

    def closure():
        optimizer.zero_grad()
        y = lamella.functional.relu(w)
        y.backward(np.ones(2))
        return y

    with lamella.no_grad():
        assert optimizer.step(closure).requires_grad
    np.testing.assert_array_equal(w.data, [-0.5, -1.0])
    optimizer.zero_grad(set_to_none=False)
    np.testing.assert_array_equal(w.grad.data, [0.0, 0.0])
    optimizer.zero_grad()
    assert w.grad is None


def test_refusals():
    w = lamella.Tensor(np.ones(3), requires_grad=True)
    for wrong in ({"lr": -1}, {"momentum": -1}, {"weight_decay": -1}, {"nesterov": True}, {"lr": float("nan")}):
        with pytest.raises(ValueError, match="SGD"):
            SGD([w], **wrong)
    for wrong in ({"lr": -1}, {"eps": -1}, {"weight_decay": -1}, {"betas": (1.0, 0.9)}, {"betas": (0.9, -0.1)}):
        for kind in (Adam, AdamW):
            with pytest.raises(ValueError, match=kind.__name__):
                kind([w], **wrong)
    with pytest.raises(ValueError, match="empty parameter list"):
        SGD([])
    with pytest.raises(TypeError, match="iterable"):
        SGD(w)
    with pytest.raises(TypeError, match="Tensors"):
        SGD([np.ones(3)])
    with pytest.raises(ValueError, match="non-leaf"):
        SGD([lamella.functional.relu(w)])
    with pytest.raises(ValueError, match="twice"):
        SGD([w, w])
    with pytest.raises(ValueError, match="more than one"):
        SGD([{"params": [w]}, {"params": [w]}])
    optimizer = SGD([w])
    with pytest.raises(ValueError, match="1 parameters in group 0, got 2"):
        optimizer.load_state_dict(SGD([lamella.Tensor(np.ones(3)), lamella.Tensor(np.ones(3))]).state_dict())
    w.grad = lamella.Tensor(np.ones(4))
    with pytest.raises(RuntimeError, match="gradient"):
        optimizer.step()
    w.data.flags.writeable = False
    w.grad = lamella.Tensor(np.ones(3))
    with pytest.raises(ValueError, match="read-only"):
        optimizer.step()


OURS = [
    (Lion, {"lr": 0.01, "weight_decay": 0.1}),
    (NormalizedGD, {"lr": 0.01, "weight_decay": 0.1}),
    (NormalizedGD, {"lr": 0.01, "eps": 0.0}),
    (SGD, {"lr": 0.1, "momentum": 0.9, "momentum_kind": "ema", "nesterov": True}),
    (SGD, {"lr": 0.1, "momentum": 0.9, "momentum_kind": "heavy_ball", "nesterov": True, "l1": 0.01}),
    (Adam, {"lr": 0.1, "eps": 1e-2, "eps_placement": "inside"}),
    (Adam, {"lr": 0.1, "eps": 1e-2, "eps_placement": "uncorrected", "weight_decay": 0.01, "decay_kind": "independent"}),
    (Adamax, {"lr": 0.1, "eps": 1e-2, "eps_placement": "outside"}),
    (RMSprop, {"eps": 1e-2, "eps_placement": "inside", "max_norm": 1.5}),
    (Adagrad, {"eps": 1e-2, "eps_placement": "inside", "decay_kind": "decoupled", "weight_decay": 0.1}),
]


@pytest.mark.parametrize(("kind", "options"), OURS, ids=lambda v: v.__name__ if isinstance(v, type) else "-".join(v))
def test_backends_agree_and_state_goes_through_a_file(kind, options, tmp_path):
    """What PyTorch does not have: the three forms agree over 100 steps, with a saved and loaded state in the middle."""
    results = []
    for backend in BACKENDS:
        ours = [lamella.Tensor(a.copy(order="K"), requires_grad=True) for a in parameters("float64")]
        optimizer = kind(ours, **options)
        with lamella.use_backend(backend):
            for i, grads in enumerate(gradients(100, "float64")):
                if i == 50:
                    lamella.save(optimizer.state_dict(), tmp_path / "state.safetensors")
                    optimizer = kind(ours, lr=123.0)
                    optimizer.load_state_dict(lamella.load(tmp_path / "state.safetensors"))
                feed(ours, grads, lamella.Tensor)
                optimizer.step()
        results.append([p.data.copy() for p in ours])
    for other in results[1:]:
        for a, b in zip(results[0], other):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)


def rosenbrock(module):
    def closure(w, optimizer):
        optimizer.zero_grad()
        loss = ((w[0][1:] - w[0][:-1] ** 2) ** 2).sum() * 100 + ((1 - w[0]) ** 2).sum() + (w[1] ** 4).sum()
        loss.backward()
        return loss

    return closure


@pytest.mark.parametrize(
    "options",
    [{"lr": 1e-3}, {"line_search_fn": "strong_wolfe"}, {"line_search_fn": "strong_wolfe", "history_size": 3, "max_iter": 7, "lr": 0.5}],
    ids=lambda v: "-".join(v),
)
def test_lbfgs(options):
    start = [np.array([-1.2, 1.0, 0.7, 1.3]), np.array([[0.5, -0.3]])]
    ours, theirs = [lamella.Tensor(a.copy(), requires_grad=True) for a in start], [torch.tensor(a, requires_grad=True) for a in start]
    optimizer, other = lamella.optim.LBFGS(ours, **options), torch.optim.LBFGS(theirs, **options)
    closure = rosenbrock(lamella)
    for i in range(6):
        a = optimizer.step(lambda optimizer=optimizer: closure(ours, optimizer))
        b = other.step(lambda: closure(theirs, other))
        np.testing.assert_allclose(float(a.item()), b.item(), rtol=1e-7, atol=1e-12)
        if i == 2:
            state = copy.deepcopy(optimizer.state_dict())
            optimizer = lamella.optim.LBFGS(ours, **options)
            optimizer.load_state_dict(state)
    assert_close(ours, theirs, 1e-8)
    assert optimizer.state[ours[0]]["func_evals"] == other.state[theirs[0]]["func_evals"]
    with pytest.raises(TypeError, match="closure"):
        optimizer.step()
    with pytest.raises(ValueError, match="strong_wolfe"):
        lamella.optim.LBFGS(ours, line_search_fn="armijo")


def test_clipping():
    for norm_type in (2.0, 1.0, float("inf"), 3.0):
        ours, theirs = (
            [lamella.Tensor(a.copy(order="K"), requires_grad=True) for a in parameters("float64")],
            [torch.tensor(np.ascontiguousarray(a), requires_grad=True) for a in parameters("float64")],
        )
        (grads,) = gradients(1, "float64")
        feed(ours, grads, lamella.Tensor)
        feed(theirs, grads, torch.tensor)
        for bound in (1000.0, 1.5):
            a = lamella.nn.utils.clip_grad_norm_(ours, bound, norm_type)
            b = torch.nn.utils.clip_grad_norm_(theirs, bound, norm_type)
            np.testing.assert_allclose(float(a), b.item(), rtol=1e-12)
            assert_close([p.grad for p in ours], [p.grad for p in theirs], 1e-12)
        lamella.nn.utils.clip_grad_value_(ours, 0.05)
        torch.nn.utils.clip_grad_value_(theirs, 0.05)
        assert_close([p.grad for p in ours], [p.grad for p in theirs], 1e-12)
    ours[0].grad.data[0] = np.nan
    with pytest.raises(RuntimeError, match="nan"):
        lamella.nn.utils.clip_grad_norm_(ours, 1.0, error_if_nonfinite=True)


@pytest.mark.parametrize("kind", ["swa", "ema"])
def test_averaged_model(kind):
    lamella.manual_seed(0)
    model = lamella.nn.Sequential(lamella.nn.Linear(3, 4), lamella.nn.BatchNorm1d(4))
    peer = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    swa, torch_swa = lamella.optim.swa_utils, torch.optim.swa_utils
    average = swa.AveragedModel(model, avg_fn=swa.get_ema_avg_fn(0.9) if kind == "ema" else None)
    other = torch_swa.AveragedModel(peer, avg_fn=torch_swa.get_ema_avg_fn(0.9) if kind == "ema" else None)
    rng = np.random.default_rng(0)
    for _ in range(4):
        for ours, theirs in zip(model.parameters(), peer.parameters()):
            values = rng.standard_normal(ours.shape).astype(np.float32)
            ours.data[...] = values
            theirs.data = torch.tensor(values)
        average.update_parameters(model)
        other.update_parameters(peer)
    batches = [rng.standard_normal((8, 3)).astype(np.float32) for _ in range(3)]
    swa.update_bn(batches, average)
    torch_swa.update_bn([torch.tensor(x) for x in batches], other)
    expected = other.state_dict()
    assert set(average.state_dict()) == set(expected)
    for name, value in average.state_dict().items():
        np.testing.assert_allclose(value.data, expected[name].numpy(), rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("strategy", ["cos", "linear"])
@pytest.mark.parametrize("epochs", [0, 1, 10])
def test_swalr(strategy, epochs):
    """By itself, for two groups with their own rates, and with another schedule moving the rate in between."""

    def rates(parameter, optim, swa):
        optimizer = optim.SGD([{"params": [parameter(2.0)], "lr": 0.5}, {"params": [parameter(1.0)]}], lr=1.0)
        other = optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
        schedule = swa.SWALR(optimizer, [0.02, 0.3], anneal_epochs=epochs, anneal_strategy=strategy)
        for step in range(200):
            optimizer.step()
            (other if step < 5 or step % 7 == 0 else schedule).step()
            yield [group["lr"] for group in optimizer.param_groups]

    ours = rates(lambda v: lamella.tensor([v], requires_grad=True), lamella.optim, lamella.optim.swa_utils)
    theirs = rates(lambda v: torch.tensor([v], requires_grad=True), torch.optim, torch.optim.swa_utils)
    np.testing.assert_allclose(list(ours), list(theirs), rtol=1e-10)
    for bad in ({"anneal_strategy": "step"}, {"anneal_epochs": -1}):
        with pytest.raises(ValueError, match="SWALR"):
            lamella.optim.swa_utils.SWALR(SGD([lamella.tensor([1.0])], lr=1.0), 0.1, **bad)


def test_named_parameters():
    w = lamella.Tensor(np.ones(3), requires_grad=True)
    assert SGD([("weight", w)]).state_dict()["param_groups"][0]["param_names"] == ["weight"]


class TestSchedules:
    CASES = [
        ("StepLR", {"step_size": 7, "gamma": 0.5}),
        ("StepLR", {"step_size": 1, "gamma": 0.97}),
        ("CosineAnnealingLR", {"T_max": 50}),
        ("CosineAnnealingLR", {"T_max": 13, "eta_min": 0.01}),
        ("CosineAnnealingLR", {"T_max": 1}),
        ("CosineAnnealingLR", {"T_max": 200, "eta_min": 1e-3}),
        ("OneCycleLR", {"max_lr": 0.5, "total_steps": 200}),
        ("OneCycleLR", {"max_lr": [0.5, 0.25], "epochs": 10, "steps_per_epoch": 20, "anneal_strategy": "linear", "pct_start": 0.1}),
        ("OneCycleLR", {"max_lr": 0.5, "total_steps": 200, "three_phase": True, "base_momentum": 0.7, "max_momentum": [0.9, 0.8]}),
        ("OneCycleLR", {"max_lr": 0.5, "total_steps": 201, "cycle_momentum": False, "div_factor": 10.0, "final_div_factor": 5.0}),
        ("CosineAnnealingWarmRestarts", {"T_0": 7}),
        ("CosineAnnealingWarmRestarts", {"T_0": 5, "T_mult": 2, "eta_min": 0.01}),
        ("ExponentialLR", {"gamma": 0.97}),
        ("MultiStepLR", {"milestones": [30, 80, 80, 150], "gamma": 0.5}),
        ("ConstantLR", {"factor": 0.25, "total_iters": 20}),
        ("LinearLR", {"start_factor": 0.1, "total_iters": 50}),
        ("LinearLR", {"start_factor": 1.0, "end_factor": 0.01, "total_iters": 150}),
        ("PolynomialLR", {"total_iters": 150, "power": 1.5}),
        ("LambdaLR", {"lr_lambda": lambda epoch: 0.95**epoch}),
        ("LambdaLR", {"lr_lambda": [lambda epoch: 1 / (1 + epoch), lambda epoch: 0.5]}),
        ("MultiplicativeLR", {"lr_lambda": lambda epoch: 0.95}),
        ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 13}),
        ("CyclicLR", {"base_lr": [0.01, 0.0], "max_lr": [0.1, 0.5], "step_size_up": 13, "step_size_down": 20, "mode": "triangular2"}),
        ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 20, "mode": "exp_range", "gamma": 0.99, "base_momentum": 0.5}),
        ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 20, "cycle_momentum": False}),
        (
            "SequentialLR",
            {
                "parts": [("LinearLR", {"total_iters": 20}), ("CosineAnnealingLR", {"T_max": 100}), ("ExponentialLR", {"gamma": 0.9})],
                "milestones": [20, 120],
            },
        ),
        (
            "SequentialLR",
            {"parts": [("ConstantLR", {"total_iters": 30}), ("CosineAnnealingWarmRestarts", {"T_0": 40})], "milestones": [30]},
        ),
        ("ChainedScheduler", {"parts": [("ConstantLR", {"total_iters": 20}), ("ExponentialLR", {"gamma": 0.9})]}),
        ("ReduceLROnPlateau", {"patience": 2, "factor": 0.7}),
        ("ReduceLROnPlateau", {"patience": 0, "factor": 0.5, "mode": "max", "cooldown": 3, "min_lr": [0.01, 0.001]}),
        ("ReduceLROnPlateau", {"patience": 3, "factor": 0.5, "threshold_mode": "abs", "threshold": 0.05}),
        ("ReduceLROnPlateau", {"patience": 1, "factor": 0.9, "mode": "max", "threshold_mode": "abs", "threshold": 0.1, "eps": 0.01}),
    ]

    @staticmethod
    def make(module, name, optimizer, parts=None, **options):
        """A schedule of ours or of PyTorch's; one that is made of others gets them in `parts`."""
        kind = getattr(module, name)
        made = [getattr(module, part)(optimizer, **arguments) for part, arguments in parts or ()]
        if name == "ChainedScheduler":
            return kind(made)
        return kind(optimizer, made, **options) if made else kind(optimizer, **options)

    @staticmethod
    def two(kind, module, tensor):
        groups = [{"params": [tensor(np.ones(2))]}, {"params": [tensor(np.ones(2))], "lr": 0.03}]
        return getattr(module, kind)(groups, lr=0.1, **({"momentum": 0.9} if kind == "SGD" else {}))

    @staticmethod
    def advance(name, optimizer, scheduler, steps):
        """What each step leaves in the optimizer."""
        seen = []
        for i in steps:
            optimizer.step()
            scheduler.step(*([np.cos(i / 9.0) / (1 + i / 50)] if name == "ReduceLROnPlateau" else []))
            seen.append([scheduler.get_last_lr(), [(g["lr"], g.get("momentum"), g.get("betas")) for g in optimizer.param_groups]])
        return seen

    @pytest.mark.parametrize("kind", ["SGD", "AdamW"])
    @pytest.mark.parametrize(("name", "options"), CASES, ids=lambda v: v if isinstance(v, str) else "-".join(v))
    def test_sequence(self, name, options, kind):
        ours = self.two(kind, lamella.optim, lamella.Tensor)
        theirs = self.two(kind, torch.optim, torch.tensor)
        a, b = self.make(lr_scheduler, name, ours, **options), self.make(torch.optim.lr_scheduler, name, theirs, **options)
        assert a.get_last_lr() == b.get_last_lr()
        assert self.advance(name, ours, a, range(200)) == self.advance(name, theirs, b, range(200))

    @pytest.mark.parametrize(("name", "options"), CASES, ids=lambda v: v if isinstance(v, str) else "-".join(v))
    def test_continues_from_json(self, name, options):
        optimizer = self.two("SGD", lamella.optim, lamella.Tensor)
        scheduler = self.make(lr_scheduler, name, optimizer, **options)
        self.advance(name, optimizer, scheduler, range(60))
        saved, state = json.loads(json.dumps(scheduler.state_dict())), json.loads(json.dumps(optimizer.state_dict()["param_groups"]))
        again = self.two("SGD", lamella.optim, lamella.Tensor)
        resumed = self.make(lr_scheduler, name, again, **options)
        again.load_state_dict({"state": {}, "param_groups": state})
        resumed.load_state_dict(saved)
        assert self.advance(name, again, resumed, range(60, 190)) == self.advance(name, optimizer, scheduler, range(60, 190))

    @pytest.mark.parametrize(
        ("name", "options"),
        [("StepLR", {"step_size": 7}), ("CosineAnnealingLR", {"T_max": 13}), ("OneCycleLR", {"max_lr": 1.0, "total_steps": 300})],
    )
    def test_last_epoch(self, name, options):
        optimizers = self.two("SGD", lamella.optim, lamella.Tensor), self.two("SGD", torch.optim, torch.tensor)
        for optimizer, module in zip(optimizers, (lr_scheduler, torch.optim.lr_scheduler)):
            getattr(module, name)(optimizer, **options)
        a, b = (getattr(m, name)(o, **options, last_epoch=20) for o, m in zip(optimizers, (lr_scheduler, torch.optim.lr_scheduler)))
        assert self.advance(name, optimizers[0], a, range(50)) == self.advance(name, optimizers[1], b, range(50))

    def test_closed_form(self):
        ours, theirs = self.two("SGD", lamella.optim, lamella.Tensor), self.two("SGD", torch.optim, torch.tensor)
        a, b = lr_scheduler.CosineAnnealingLR(ours, 50), torch.optim.lr_scheduler.CosineAnnealingLR(theirs, 50)
        ours.step()
        theirs.step()
        for epoch in (3, 70, 12):
            for scheduler in (a, b):
                with pytest.warns(UserWarning):
                    scheduler.step(epoch)
            assert a.get_last_lr() == b.get_last_lr()

    def test_refusals(self):
        optimizer = self.two("SGD", lamella.optim, lamella.Tensor)
        with pytest.raises(TypeError, match="Optimizer"):
            lr_scheduler.StepLR("SGD", 3)
        for options in ({}, {"total_steps": 0}, {"total_steps": 5, "pct_start": 2.0}, {"total_steps": 5, "anneal_strategy": "x"}):
            with pytest.raises(ValueError, match="OneCycleLR"):
                lr_scheduler.OneCycleLR(optimizer, 1.0, **options)
        with pytest.raises(ValueError, match="max_lr"):
            lr_scheduler.OneCycleLR(optimizer, [1.0, 1.0, 1.0], total_steps=5)
        with pytest.raises(ValueError, match="momentum"):
            lr_scheduler.OneCycleLR(Optimizer([lamella.Tensor(np.ones(2))], {"lr": 1.0}), 1.0, total_steps=5)
        with pytest.raises(ValueError, match="factor"):
            lr_scheduler.ReduceLROnPlateau(optimizer, factor=1.0)
        with pytest.raises(KeyError, match="initial_lr"):
            lr_scheduler.StepLR(optimizer, 3, last_epoch=4)
        scheduler = lr_scheduler.OneCycleLR(optimizer, 1.0, total_steps=3)
        optimizer.step()
        for _ in range(3):
            scheduler.step()
        with pytest.raises(ValueError, match="total_steps"):
            scheduler.step()

    def test_warns_before_the_optimizer_stepped(self):
        scheduler = lr_scheduler.StepLR(self.two("SGD", lamella.optim, lamella.Tensor), 3)
        with pytest.warns(UserWarning, match="before optimizer.step"):
            scheduler.step()


@pytest.mark.parametrize("optimizer", ["Adam", "AdamW"])
@pytest.mark.parametrize("option", ["differentiable", "capturable"])
def test_options_that_cannot_be_honoured_are_refused(optimizer, option):
    with pytest.raises(RuntimeError, match=f"{option}=True is not available"):
        getattr(lamella.optim, optimizer)([lamella.nn.Parameter(np.zeros(2, np.float32))], **{option: True})


def test_parameters_that_begin_later_and_arrays_that_are_replaced():
    """Steps are counted per parameter, and nothing refers to an array that a parameter no longer has."""
    ours, optimizer, theirs, other = pair(AdamW, {"lr": 0.1, "weight_decay": 0.1}, "float64")
    for i, grads in enumerate(gradients(12, "float64")):
        feed(ours, grads, lamella.Tensor)
        feed(theirs, grads, torch.tensor)
        if i < 4:
            ours[0].grad = theirs[0].grad = None
        if i == 6:
            ours[1].data = ours[1].data.copy()
            ours[2].data = np.asfortranarray(ours[2].data)
        if i == 8:
            optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        optimizer.step()
        other.step()
    assert_close(ours, theirs, 1e-10)
    assert [int(optimizer.state[p]["step"]) for p in ours] == [8, 12, 12]


def test_parameters_of_two_dtypes_and_two_optimizers():
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(5).astype(dtype) for dtype in ("float32", "float64", "float32", "float64")]
    ours = [lamella.Tensor(a.copy(), requires_grad=True) for a in arrays]
    theirs = [torch.tensor(a, requires_grad=True) for a in arrays]
    optimizers = [Adam(ours, lr=0.1), SGD(ours[1:3], lr=0.1, momentum=0.9)]
    others = [torch.optim.Adam(theirs, lr=0.1, foreach=False), torch.optim.SGD(theirs[1:3], lr=0.1, momentum=0.9, foreach=False)]
    for _ in range(5):
        grads = [rng.standard_normal(5).astype(a.dtype) for a in arrays]
        feed(ours, grads, lamella.Tensor)
        feed(theirs, grads, torch.tensor)
        for a, b in zip(optimizers, others):
            a.step()
            b.step()
    assert_close(ours, theirs, 1e-5)


@pytest.mark.parametrize(("kind", "options"), OPTIONS, ids=IDS)
def test_the_scale_of_the_gradient(kind, options):
    """grad_scale multiplies the gradients, before weight decay, and not in their own memory."""
    a, first, _, _ = pair(kind, options, "float64")
    b, second, _, _ = pair(kind, options, "float64")
    first.grad_scale = 0.25
    for grads in gradients(5, "float64"):
        feed(a, grads, lamella.Tensor)
        feed(b, [g * 0.25 for g in grads], lamella.Tensor)
        first.step()
        second.step()
        assert all((p.grad.data == g).all() for p, g in zip(a, grads))
    for p, q in zip(a, b):
        assert p.data.tobytes() == q.data.tobytes()


def test_a_refused_step_changes_nothing():
    good, bad = (lamella.Tensor(np.ones(3), requires_grad=True) for _ in range(2))
    good.grad, bad.grad = lamella.Tensor(np.ones(3)), lamella.Tensor(np.ones(4))
    optimizer = Adam([good, bad])
    with pytest.raises(RuntimeError, match="parameter 1 is float64"):
        optimizer.step()
    assert (good.data == 1).all() and "step" not in optimizer.state[good]
    bad.grad = lamella.Tensor(np.ones(3))
    optimizer.step()
    bad.data = np.ones(5)
    bad.grad = lamella.Tensor(np.ones(5))
    with pytest.raises(RuntimeError, match="exp_avg has shape"):
        optimizer.step()
