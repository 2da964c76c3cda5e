"""Learning-rate schedules by the formulas and numbers of the courses."""

import math

import numpy as np
import pytest

import lamella
from lamella.optim import lr_scheduler
from lamella.train import find_lr


def rates(make, steps, lr=1.0, metric=None):
    optimizer = lamella.optim.SGD([lamella.Tensor(np.ones(1))], lr=lr)
    scheduler = make(optimizer) if make else None
    seen = [optimizer.param_groups[0]["lr"]]
    for t in range(steps):
        optimizer.step()
        if scheduler is not None:
            scheduler.step(*([metric[t]] if metric else []))
        seen.append(optimizer.param_groups[0]["lr"])
    return np.array(seen)


T = np.arange(41)


@pytest.mark.course("A-100")
def test_constant():
    assert (rates(None, 40, 0.3) == 0.3).all()


@pytest.mark.course("A-101", "G-18")
def test_time_based():
    seen = rates(lambda o: lr_scheduler.TimeBasedLR(o, 0.1), 4)
    np.testing.assert_allclose(seen, [1, 1, 0.909091, 0.757576, 0.582751], atol=5e-7)
    # the curve that other libraries call so is another one
    np.testing.assert_allclose(rates(lambda o: lr_scheduler.PowerLR(o, 10), 40), 1 / (1 + 0.1 * T))


@pytest.mark.course("A-102", "G-18")
def test_step_with_the_offset():
    at = [0, 8, 9, 10, 18, 19, 20]
    course = rates(lambda o: lr_scheduler.StepLR(o, 10, 0.5, offset=1), 40)
    np.testing.assert_array_equal(course[at], [1, 1, 0.5, 0.5, 0.5, 0.25, 0.25])
    np.testing.assert_allclose(course, 0.5 ** ((1 + T) // 10))
    np.testing.assert_array_equal(rates(lambda o: lr_scheduler.StepLR(o, 10, 0.5), 40)[at], [1, 1, 1, 0.5, 0.5, 0.5, 0.25])
    np.testing.assert_allclose(rates(lambda o: lr_scheduler.StepLR(o, 1, 0.5, offset=1), 4), 0.5 ** (1 + T[:5]))


@pytest.mark.course("A-103")
def test_exponential():
    np.testing.assert_allclose(rates(lambda o: lr_scheduler.ExponentialLR(o, math.exp(-0.2)), 40), np.exp(-0.2 * T))
    np.testing.assert_allclose(rates(lambda o: lr_scheduler.StepLR(o, 5, 0.7), 40), 0.7 ** (T // 5))  # by a constant every k steps


@pytest.mark.course("A-104")
def test_power():
    np.testing.assert_allclose(rates(lambda o: lr_scheduler.PowerLR(o, s=4), 40, 0.3), 0.3 / (1 + T / 4))
    np.testing.assert_allclose(rates(lambda o: lr_scheduler.PowerLR(o, s=4, c=0.5), 40, 0.3), 0.3 / np.sqrt(1 + T / 4))


@pytest.mark.course("A-105")
def test_piecewise_constant():
    seen = rates(lambda o: lr_scheduler.PiecewiseConstantLR(o, [10, 30], [0.2, 0.05]), 40)
    np.testing.assert_array_equal(seen, np.select([T < 10, T < 30], [1.0, 0.2], 0.05))
    seen = rates(lambda o: lr_scheduler.MultiStepLR(o, [10, 30], 0.5), 40)
    np.testing.assert_array_equal(seen, np.select([T < 10, T < 30], [1.0, 0.5], 0.25))
    with pytest.raises(ValueError, match="increasing"):
        rates(lambda o: lr_scheduler.PiecewiseConstantLR(o, [30, 10], [0.2, 0.05]), 1)


@pytest.mark.course("A-106")
def test_performance():
    """alpha / lambda as soon as the validation error stops falling."""
    seen = rates(lambda o: lr_scheduler.ReduceLROnPlateau(o, factor=1 / 4, patience=0), 5, metric=[3.0, 2.0, 2.0, 1.0, 1.5])
    np.testing.assert_array_equal(seen, [1, 1, 1, 0.25, 0.25, 0.0625])


@pytest.mark.course("A-107")
def test_one_cycle():
    """Two linear halves: alpha1 / 10 -> alpha1 -> several orders of magnitude below alpha0."""

    def make(optimizer):
        return lr_scheduler.OneCycleLR(
            optimizer, 0.5, 42, pct_start=0.5, anneal_strategy="linear", div_factor=10, final_div_factor=1e3, cycle_momentum=False
        )

    seen = rates(make, 41)
    np.testing.assert_allclose(seen[:21], np.linspace(0.05, 0.5, 21))
    np.testing.assert_allclose(seen[20:], np.linspace(0.5, 5e-5, 22))
    optimizer = lamella.optim.SGD([lamella.Tensor(np.ones(1))], lr=1.0, momentum=0.9)
    theirs = lr_scheduler.OneCycleLR(optimizer, 0.5, 42)
    assert theirs.get_last_lr()[0] == pytest.approx(0.5 / 25) and optimizer.param_groups[0]["momentum"] == 0.95


@pytest.mark.course("A-108")
def test_learning_rate_finder():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((256, 5)).astype(np.float32)
    y = (x[:, 0] + 0.5 * x[:, 1] > 0).astype(np.int64)
    lamella.manual_seed(0)
    loader = lamella.data.DataLoader(lamella.data.TensorDataset(x, y), batch_size=32, shuffle=True)
    model = lamella.nn.Sequential(lamella.nn.Linear(5, 16), lamella.nn.BatchNorm1d(16), lamella.nn.ReLU(), lamella.nn.Linear(16, 2))
    optimizer = lamella.optim.SGD(model.parameters(), lr=0.123, momentum=0.9)
    before = {name: value.data.copy() for name, value in model.state_dict().items()}
    chance = lamella.random.get_rng_state()
    found = find_lr(model, optimizer, loader, start=1e-5, end=1e3, steps=120)
    np.testing.assert_allclose(np.diff(np.log(found.lrs)), np.log(1e8) / 119)  # multiplied by a constant
    assert found.suggestion == found.rises / 10 and found.rises == found.lrs[int(np.argmin(found.smoothed))]
    assert found.steepest < found.rises and 1e-3 < found.suggestion < 1
    assert found.smoothed[-1] > 1.1 * min(found.smoothed)
    assert found.plot().axes[0].get_xscale() == "log"
    # nothing has changed
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value.data, before[name], err_msg=name)
    assert optimizer.param_groups[0]["lr"] == 0.123 and not optimizer.state and str(lamella.random.get_rng_state()) == str(chance)
    # the suggestion trains; a hundred times more does not
    ends = []
    for lr in (found.suggestion, 100 * found.suggestion):
        model.load_state_dict(before)
        optimizer = lamella.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
        trainer = lamella.train.Trainer(model, optimizer, progress="none")
        ends.append(trainer.fit(loader, epochs=3)[-1]["train_loss"])
    assert ends[0] < 0.35 < ends[1]
    with pytest.raises(ValueError, match="at least one batch"):
        find_lr(model, optimizer, [])
    with pytest.raises(ValueError, match="start < end"):
        find_lr(model, optimizer, loader, start=1.0, end=0.1)


@pytest.mark.course("A-109")
def test_divided_by_a_constant_at_every_iteration():
    np.testing.assert_allclose(rates(lambda o: lr_scheduler.ExponentialLR(o, 1 / 1.25), 40), 1.25 ** -T.astype(float))


@pytest.mark.course("A-110")
def test_warm_up_cosine_and_restarts():
    seen = rates(lambda o: lr_scheduler.LinearLR(o, 0.1, total_iters=9), 40)
    np.testing.assert_allclose(seen, np.minimum(0.1 + 0.1 * T, 1))
    seen = rates(lambda o: lr_scheduler.CosineAnnealingLR(o, 40), 40)
    np.testing.assert_allclose(seen, (1 + np.cos(np.pi * T / 40)) / 2, atol=1e-12)
    seen = rates(lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 10), 40)
    np.testing.assert_allclose(seen, (1 + np.cos(np.pi * (T % 10) / 10)) / 2, atol=1e-12)

    def both(optimizer):
        parts = [lr_scheduler.LinearLR(optimizer, 0.1, total_iters=9), lr_scheduler.CosineAnnealingLR(optimizer, 31)]
        return lr_scheduler.SequentialLR(optimizer, parts, [9])

    seen = rates(both, 40)
    np.testing.assert_allclose(seen, np.where(T < 9, 0.1 + 0.1 * T, (1 + np.cos(np.pi * (T - 9) / 31)) / 2), atol=1e-12)
