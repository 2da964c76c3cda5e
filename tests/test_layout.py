"""Memory formats: right values, right strides, and no copy where none is needed."""

import itertools

import numpy as np
import pytest

import lamella
from lamella import layout

SHAPES = [(2, 3, 5, 7), (2, 16, 4, 4), (1, 33, 9, 1), (3, 1, 5, 6), (2, 4, 1, 1), (1, 1, 1, 1), (0, 3, 4, 5), (2, 3, 0, 5), (5, 17, 12, 11)]


def memory_formats(shape, dtype):
    """Arrays of a shape in every memory order, and with gaps."""
    x = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    for axes in itertools.permutations(range(4)):
        yield np.ascontiguousarray(x.transpose(axes)).transpose(np.argsort(axes))
    yield np.repeat(x, 2, axis=3)[..., ::2]
    yield np.repeat(x, 2, axis=0)[::2]
    yield x[:, ::-1].copy()[:, ::-1]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", ">f4"])
def test_conversions(shape, dtype):
    for x in memory_formats(shape, dtype):
        last = np.moveaxis(x, 1, -1).flags.c_contiguous
        assert layout.is_channels_last(x) == last
        before = layout.reorders
        y = layout.channels_last(x)
        assert (y is x) == last and layout.reorders == before + (not last)
        assert layout.is_channels_last(y) and y.dtype == x.dtype
        np.testing.assert_array_equal(y, x)

        z = layout.c_contiguous(x)
        assert (z is x) == x.flags.c_contiguous and z.flags.c_contiguous
        np.testing.assert_array_equal(z, x)

        for reference in (y, z):
            before = layout.reorders
            same = layout.like(x, reference)
            np.testing.assert_array_equal(same, x)
            ones = [i for i in range(4) if shape[i] > 1]
            assert not x.size or [same.strides[i] for i in ones] == [reference.strides[i] for i in ones]
            assert same is x or layout.reorders == before + 1


def test_what_is_in_the_wanted_format_is_not_copied():
    for shape in SHAPES:
        last = layout.empty_channels_last(shape, np.dtype(np.float32))
        c = np.empty(shape, np.float32)
        before = layout.reorders
        assert layout.channels_last(last) is last
        assert layout.c_contiguous(c) is c
        assert layout.like(last, last) is last and layout.like(c, c) is c
        assert layout.reorders == before
    one_channel = np.empty((4, 1, 8, 8))
    assert layout.channels_last(one_channel) is one_channel
    assert layout.like(one_channel, layout.empty_channels_last((4, 1, 8, 8), one_channel.dtype)) is one_channel


@pytest.mark.parametrize("backend", ["cython", "numba", "reference"])
def test_every_backend_reorders(backend):
    if backend == "numba":
        pytest.importorskip("numba")
    x = np.random.default_rng(0).standard_normal((3, 20, 13, 9)).astype(np.float32)
    x[0, 0, 0, 0] = np.nan
    with lamella.use_backend(backend):
        y = layout.channels_last(x)
        z = layout.c_contiguous(y)
    assert layout.is_channels_last(y) and z.flags.c_contiguous
    assert x.tobytes() == z.tobytes() == y.tobytes()


def test_pooling_between_channels_last_layers_reorders_nothing():
    x = lamella.from_numpy(layout.channels_last(np.random.default_rng(0).standard_normal((2, 5, 12, 12))))
    x.requires_grad_()
    before = layout.reorders
    y = lamella.functional.max_pool2d(x, 2)
    z = lamella.functional.adaptive_avg_pool2d(lamella.functional.avg_pool2d(y, 3, 1, 1), 1)
    z.backward(np.ones((2, 5, 1, 1)))
    assert layout.reorders == before
    assert layout.is_channels_last(x.grad.data)
