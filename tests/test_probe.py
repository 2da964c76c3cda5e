"""The programs that measure the machine, measured: a peak loop that the compiler hoists would print nonsense."""

import numpy as np
import pytest
from lamella.kernels._common import cpu, probe

CLOCK = 7.0  # GHz: no processor is faster
PIPES = 2


@pytest.mark.parametrize("item", [4, 8])
@pytest.mark.parametrize("isa", cpu.supported())
def test_every_multiply_add_is_executed(isa, item):
    sums = []
    for steps in (1000, 2000, 4001):
        total, flops, _ = probe.peak(1, 3, isa, item, steps)
        assert total * 2 == flops
        sums.append(total / steps)
    assert sums[0] == sums[1] == sums[2]


@pytest.mark.parametrize("isa", cpu.supported())
def test_peak_is_possible(isa):
    _, flops, seconds = probe.peak(1, 8, isa)
    lanes = {"base": 4, "v3": 8, "v4": 16}[isa]
    assert flops / seconds / 1e9 < PIPES * 2 * lanes * CLOCK


def test_peak_uses_all_threads_asked_for():
    total, flops, _ = probe.peak(3, 2)
    assert total * 2 == flops


@pytest.mark.parametrize("isa", cpu.supported())
@pytest.mark.parametrize("n", [0, 1, 15, 16, 63, 64, 65, 1001])
def test_copy(isa, n):
    origin = np.arange(n, dtype=np.uint8)
    to = np.zeros_like(origin)
    assert probe.copy(2, to, origin, isa) >= 0
    assert np.array_equal(to, origin)


def test_copy_refuses_other_sizes():
    with pytest.raises(ValueError, match="one size"):
        probe.copy(1, np.zeros(3), np.zeros(4))
