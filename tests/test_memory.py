"""Blocks of memory are handed out again, and never twice at a time."""

import gc
import threading

import numpy as np
import pytest

import lamella
import lamella.functional as F
from lamella import memory

F32 = np.dtype("float32")
BIG = (1, 64, 64, 64)


@pytest.fixture(autouse=True)
def nothing_kept():
    lamella.empty_cache()
    yield
    lamella.empty_cache()


def address(x):
    return x.__array_interface__["data"][0]


def test_a_block_is_used_again_only_after_its_last_view_has_died():
    x = memory.empty(BIG, F32)
    where, view = address(x), x[0, 3:]
    del x
    assert address(memory.empty(BIG, F32)) != where
    del view
    assert where in {address(a) for a in [memory.empty(BIG, F32) for _ in range(3)]}


@pytest.mark.parametrize("shape", [(0, 3), (5,), BIG, (1 << 18,), (3, 0, 5), (7, 1, 40000)])
@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
def test_arrays_are_ordinary(shape, dtype):
    x = memory.empty(shape, np.dtype(dtype))
    assert x.shape == shape and x.dtype == dtype and x.flags.c_contiguous and x.flags.writeable and x.flags.aligned
    x[...] = 3
    assert (x == 3).all()


def test_ownership():
    x = memory.empty(BIG, F32)
    assert memory.owns_its_memory(x)
    assert memory.owns_its_memory(memory.empty_like(lamella.layout.channels_last(np.ones((2, 32, 40, 40), F32))))
    assert not memory.owns_its_memory(x[0])
    assert not memory.owns_its_memory(x.reshape(-1))
    assert memory.owns_its_memory(np.ones(3))


def test_a_gradient_is_taken_over_without_a_copy_but_never_shared():
    x, y = (lamella.randn(*BIG).requires_grad_() for _ in range(2))
    (x + y).backward(np.ones(BIG, F32))
    assert not np.shares_memory(x.grad.data, y.grad.data)
    leaf = lamella.randn(*BIG).requires_grad_()
    F.relu(leaf).backward(np.ones(BIG, F32))
    assert memory.owns_its_memory(leaf.grad.data)


def test_memory_order_is_kept():
    x = lamella.layout.channels_last(np.ones((2, 32, 40, 40), F32))
    y = memory.empty_like(x)
    assert y.strides == x.strides
    assert lamella.layout.is_channels_last(F.relu(x))
    small = np.asfortranarray(np.ones((3, 4)))
    assert memory.empty_like(small).flags.f_contiguous


def test_what_is_kept_is_bounded(monkeypatch):
    monkeypatch.setattr(memory.blocks, "limit", 4 << 20)
    blocks = [memory.empty((1 << 20,), np.dtype("uint8")) for _ in range(10)]
    del blocks
    gc.collect()
    assert 0 < memory.blocks.idle <= 4 << 20
    lamella.empty_cache()
    assert memory.blocks.idle == 0


def test_threads_never_share_a_block():
    wrong = []

    def work(number):
        for _ in range(300):
            x = memory.empty((1 << 17,), F32)
            x.fill(number)
            if x[0] != number or x[-1] != number or (x[:: 1 << 12] != number).any():
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_a_training_step_takes_no_new_memory_after_the_first():
    resource = pytest.importorskip("resource")
    lamella.manual_seed(0)
    model = lamella.models.create("vgg-small")
    x, y = lamella.randn(32, 1, 28, 28), np.arange(32) % 10

    def step():
        F.cross_entropy(model(x), y).backward()

    for _ in range(3):
        step()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    step()
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    assert faults < 600, f"{faults} page faults: results are not recycled"
