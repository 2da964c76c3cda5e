"""Tensor, the tape, the random state, and gradcheck."""

import copy
import gc
import pickle
import threading
import weakref

import numpy as np
import pytest

import lamella
import lamella.functional as F
from lamella.tensor import Operation, apply
from lamella.testing import gradcheck, numeric_gradient


def leaf(*shape, seed=0):
    return lamella.tensor(np.random.default_rng(seed).standard_normal(shape), requires_grad=True)


# The tape


def test_branches_meet():
    x = leaf(3)
    y = x * 2
    ((y * y) + y.exp() - y).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 8 * x.data + 2 * np.exp(2 * x.data) - 2)


def test_deep_chain_and_wide_sharing():
    x = lamella.tensor(np.array(1.0), requires_grad=True)
    y = x
    for _ in range(3000):  # deeper than Python's stack
        y = y + 0.0
    for _ in range(60):  # 2**60 paths, 60 nodes
        y = y + y
    y.backward()
    assert x.grad.item() == 2.0**60


def test_shared_weight():
    w, x = leaf(3, 3), leaf(2, 3, seed=1)
    assert gradcheck(lambda w, x: F.linear(F.relu(F.linear(x, w)), w), [w, x])


def test_residual():
    x, w = leaf(4, 3), leaf(3, 3, seed=1)
    assert gradcheck(lambda x, w: F.relu(x @ w + x) + x, [x, w])


def test_one_tensor_as_both_operands():
    x = leaf(3)
    (x - x + x * x).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 2 * x.data)


def test_gradients_accumulate():
    x = leaf(3)
    (x * 2).sum().backward()
    first = x.grad
    (x * 3).sum().backward()
    assert x.grad is first
    np.testing.assert_array_equal(x.grad.numpy(), [5, 5, 5])
    x.grad = None
    x.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [1, 1, 1])


def test_gradients_are_separate_memory():
    x, y = leaf(3), leaf(3, seed=1)
    (x + y).backward(np.ones(3))
    x.grad.zero_()
    np.testing.assert_array_equal(y.grad.numpy(), [1, 1, 1])


def test_gradient_of_the_caller_is_not_kept():
    x, g = leaf(3), np.ones(3)
    x.backward(g)
    g[:] = 7
    np.testing.assert_array_equal(x.grad.numpy(), [1, 1, 1])


def test_second_backward_through_a_freed_graph():
    y = (leaf(3) * 2).exp().sum()
    y.backward()
    with pytest.raises(RuntimeError, match="the graph of sum was freed by an earlier backward.*retain_graph=True"):
        y.backward()


def test_retain_graph():
    x = leaf(3)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    np.testing.assert_allclose(x.grad.numpy(), 4 * x.data)


def test_what_the_tape_saved_is_freed():
    big = np.ones(10)
    dead = weakref.ref(big)
    x = leaf(10)
    y = (x * lamella.from_numpy(big)).sum()
    del big
    gc.collect()
    assert dead() is not None
    y.backward()
    gc.collect()
    assert dead() is None


def test_tensors_that_need_no_gradient_are_not_kept():
    x, data = leaf(3), lamella.ones(3, dtype="float64")
    dead = weakref.ref(data)
    y = x + data
    del data
    gc.collect()
    assert dead() is None
    assert y.requires_grad


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("+=", lambda t: t.__iadd__(1)),
        ("*=", lambda t: t.__imul__(2)),
        ("setitem", lambda t: t.__setitem__(0, 5.0)),
        ("fill_", lambda t: t.fill_(1)),
        ("copy_", lambda t: t.copy_(np.zeros(3))),
        ("detach", lambda t: t.detach().zero_()),
        ("view", lambda t: t.reshape(3, 1).zero_()),
        ("slice", lambda t: t[:2].zero_()),
        ("item", lambda t: t[0].zero_()),
        ("transposed", lambda t: t.unsqueeze(0).T.zero_()),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_change_in_place_of_what_the_tape_needs(what, change):
    x = leaf(3)
    y = x * 1
    z = (y * y).sum()
    with lamella.no_grad():
        change(y)
    with pytest.raises(RuntimeError, match="mul needs a value that was changed in place after it was computed; change a copy instead"):
        z.backward()


def test_change_in_place_of_what_the_tape_does_not_need():
    x = leaf(3)
    y = x * 1
    z = (y + 2).sum()
    with lamella.no_grad():
        y.zero_()
    z.backward()
    np.testing.assert_array_equal(x.grad.numpy(), [1, 1, 1])


def test_beside_a_number_an_operand_may_change():
    x = leaf(3)
    y = x * 1
    z = (2 * y * 3 / 4).sum()
    with lamella.no_grad():
        y.zero_()
    z.backward()
    np.testing.assert_array_equal(x.grad.numpy(), [1.5, 1.5, 1.5])


def test_change_in_place_through_advanced_indexing_is_of_a_copy():
    x = leaf(3)
    y = x * 1
    z = (y * y).sum()
    with lamella.no_grad():
        y[[0, 1]].zero_()
    z.backward()
    np.testing.assert_allclose(x.grad.numpy(), 2 * x.data)


def test_index_arrays_are_copied():
    x, index = leaf(3), np.array([0, 0])
    y = x[index].sum()
    index[:] = 2
    y.backward()
    np.testing.assert_array_equal(x.grad.numpy(), [2, 0, 0])


def test_change_in_place_of_a_leaf():
    x = leaf(3)
    with pytest.raises(RuntimeError, match=r"add_: in-place change of a leaf that requires a gradient.*no_grad"):
        x += 1
    y = x * 2
    with pytest.raises(RuntimeError, match="setitem: in-place change of a recorded Tensor"):
        y[0] = 1
    with lamella.no_grad():
        x += 1


def test_no_grad_and_enable_grad():
    x = leaf(3)

    @lamella.no_grad()
    def double(t):
        return t * 2

    assert not double(x).requires_grad
    with lamella.no_grad():
        assert not (x * 2).requires_grad
        assert not lamella.is_grad_enabled()
        with lamella.enable_grad():
            assert (x * 2).requires_grad
    assert (x * 2).requires_grad


def test_no_grad_is_of_one_thread():
    seen = []
    with lamella.no_grad():
        thread = threading.Thread(target=lambda: seen.append(lamella.is_grad_enabled()))
        thread.start()
        thread.join()
    assert seen == [True]


def test_detach():
    x = leaf(3)
    y = (x * 2).detach()
    assert not y.requires_grad
    assert y.is_leaf
    (x * y).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 2 * x.data)


def test_backward_errors():
    x = leaf(3)
    with pytest.raises(RuntimeError, match="not computed from any Tensor that requires a gradient"):
        lamella.ones(3).backward()
    with pytest.raises(RuntimeError, match=r"a gradient must be given for a Tensor of shape \(3,\)"):
        (x * 2).backward()
    with pytest.raises(RuntimeError, match=r"expected a gradient of shape \(3,\), got \(2,\)"):
        (x * 2).backward(np.ones(2))


def test_integers_require_no_gradient():
    with pytest.raises(RuntimeError, match="only float32 and float64 can require a gradient, got int64"):
        lamella.tensor([1, 2], requires_grad=True)
    x = leaf(2, 3)
    assert not (x > 0).requires_grad
    assert not x.argmax(1).requires_grad
    assert not x.max(1).indices.requires_grad


def test_single_elements_give_way_to_the_other_dtype_and_back():
    x = lamella.ones(3, requires_grad=True)
    s = lamella.tensor(np.array(2.0), requires_grad=True)
    y = x * (s * 3)
    assert y.dtype == np.float32
    y.sum().backward()
    assert s.grad.dtype == np.float64
    assert s.grad.item() == 9
    assert x.grad.dtype == np.float32


def test_arrays_on_the_left():
    x = leaf(3)
    a = np.arange(3.0)
    for y in (a + x, a - x, a * x, a / x, np.eye(3) @ x, a**x):
        assert isinstance(y, lamella.Tensor)
        assert y.requires_grad


# What a Tensor is


def test_what_goes_in():
    assert lamella.tensor([1.0]).dtype == np.float32
    assert lamella.tensor(1.5).dtype == np.float32
    assert lamella.tensor(np.array([1.0])).dtype == np.float64
    assert lamella.tensor([1]).dtype == np.int64
    assert lamella.tensor([True]).dtype == np.bool_
    a = np.ones(2)
    assert lamella.from_numpy(a).numpy() is a
    assert lamella.tensor(a).numpy() is not a
    with pytest.raises(TypeError, match="expected numbers or booleans, got <U1"):
        lamella.tensor(["a"])
    with pytest.raises(TypeError, match="use lamella.tensor"):
        lamella.from_numpy([1.0])


def test_numpy_of_a_recorded_tensor():
    with pytest.raises(RuntimeError, match=r"use tensor.detach\(\).numpy\(\)"):
        leaf(3).numpy()
    with pytest.raises(RuntimeError, match="detach"):
        np.asarray(leaf(3))


def test_copies():
    x = leaf(3)
    x.sum().backward()
    for y in (copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert y.requires_grad
        assert y.data is not x.data
        np.testing.assert_array_equal(y.data, x.data)
    assert copy.deepcopy(x).grad is not x.grad
    with pytest.raises(RuntimeError, match="deepcopy"):
        copy.deepcopy(x * 2)


def test_comparisons_and_logic():
    x = lamella.tensor([1.0, 2.0, 3.0])
    assert ((x > 1) & (x <= 2)).tolist() == [False, True, False]
    assert ((x == 1) | ~(x != 3)).tolist() == [True, False, True]
    assert ((x >= 2) ^ (x < 3)).tolist() == [True, False, True]
    assert (x == x).all() and (x == 2).any()
    assert len({x, x}) == 1
    assert [float(v) for v in x] == [1, 2, 3]


def test_repr():
    assert repr(lamella.tensor([1.0, 2.0])) == "tensor([1., 2.])"
    assert repr(lamella.tensor([1.0], requires_grad=True) * 2) == "tensor([2.], grad_fn=<mul>)"
    assert repr(lamella.tensor(np.ones(1))) == "tensor([1.], dtype=float64)"


# Error texts


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda x: x + np.ones(4), ValueError, r"add: shapes \(2, 3\) and \(4,\) do not broadcast"),
        (lambda x: x * np.ones(3, "float32"), TypeError, "mul: expected one dtype, got input float64, other float32; convert with .astype"),
        (lambda x: x + np.ones(3, "float16"), TypeError, "add: expected other of float32 or float64, got float16"),
        (lambda x: x + 1j, TypeError, "complex"),
        (lambda x: x + "a", TypeError, "add"),
        (lambda x: x.reshape(4, 2), ValueError, r"reshape: shape \(4, 2\) is invalid for an input of shape \(2, 3\) with 6 elements"),
        (lambda x: x.reshape(2.0), TypeError, "reshape: expected a shape of integers"),
        (lambda x: x.sum(2), ValueError, "sum: dim 2 is out of range for 2 axes; expected -2 to 1"),
        (lambda x: x.sum((0, -2)), ValueError, "names an axis twice"),
        (lambda x: x.mean(1.0), TypeError, "mean: expected dim to be an integer, got 1.0"),
        (lambda x: F.mean([1, 2]), TypeError, r"mean: expected input of float32 or float64, got int64; convert it: input.astype\('float32'\)"),
        (lambda x: x[:0].max(), ValueError, "max: expected at least one element"),
        (lambda x: x[:0].argmax(0), ValueError, "argmax: expected elements to compare"),
        (lambda x: x.permute(0, 0), ValueError, "permute: expected every one of 2 axes once"),
        (lambda x: x.flatten(1, 0), ValueError, "flatten: start_dim 1 comes after end_dim 0"),
        (lambda x: x.expand(4, 3), ValueError, r"expand: an input of shape \(2, 3\) does not broadcast to \(4, 3\)"),
        (lambda x: F.cat([]), ValueError, "cat: expected at least one array"),
        (lambda x: F.cat([x, x[0]]), ValueError, r"cat: sizes must agree except along axis 0; tensors\[0\] has shape \(2, 3\), tensors\[1\]"),
        (lambda x: F.stack([x, x[:1]]), ValueError, "stack: expected equal shapes"),
        (lambda x: F.pad(x, (1, 2, 3)), ValueError, "pad: expected pairs of integers"),
        (lambda x: F.pad(x, (-2, -2)), ValueError, "pad: negative padding cuts away more than there is"),
            (lambda x: F.pad(x, (1, 1), mode="mirror"), ValueError, "pad: expected mode to be one of constant"),
            (lambda x: F.pad(x, (3, 3), mode="reflect"), ValueError, "pad: mode 'reflect' can add at most"),
        (lambda x: x[[0.5]], TypeError, "getitem: expected integers, slices"),
        (lambda x: x[5], IndexError, "out of bounds"),
        (lambda x: x @ np.ones(2), ValueError, r"matmul: the last axis .* got shapes \(2, 3\) and \(2,\)"),
        (lambda x: x @ 2.0, ValueError, r"matmul: expected operands of one axis or more.* use \* to scale"),
        (lambda x: F.matmul(np.ones((2, 4, 2)), np.ones((3, 2, 2))), ValueError, "batch axes"),
        (lambda x: F.linear(x, np.ones((4, 5))), ValueError, r"linear: expected input with 5 features .* got shape \(2, 3\)"),
        (lambda x: F.linear(np.ones((2, 3, 4)), np.ones((5, 12))), ValueError, r"flatten it first: input.flatten\(1\)"),
        (lambda x: F.linear(x, np.ones(3)), ValueError, r"linear: expected weight of shape \(out_features, in_features\)"),
        (lambda x: F.linear(x, np.ones((4, 3)), np.ones(3)), ValueError, r"linear: expected bias of shape \(4,\)"),
        (lambda x: F.linear(x, np.ones((4, 3), "float32")), TypeError, "linear: expected one dtype"),
        (lambda x: F.gemm(x, x), ValueError, r"gemm: the inner sizes must agree, got op\(a\) \(2, 3\) and op\(b\) \(2, 3\)"),
        (lambda x: F.gemm(x, x, trans_b=True, activation="gelu"), ValueError, "gemm: activation must be one of"),
        (lambda x: F.gemm(x, x, np.ones((3, 3)), trans_b=True), ValueError, r"gemm: expected c of shape \(2, 2\)"),
        (lambda x: F.gemm(x, x, trans_b=True, bias=np.ones(3)), ValueError, "gemm: expected bias of shape"),
        (lambda x: F.dropout(x, 1.5), ValueError, "dropout: probability has to be between 0 and 1"),
        (lambda x: x.clamp(), ValueError, "clamp: expected min or max or both"),
        (lambda x: F.where(x, x, x), TypeError, "where: expected a boolean condition"),
        (lambda x: x.to("float16"), TypeError, "to: expected float32, float64"),
    ],
)  # fmt: skip
def test_error_text(call, error, text):
    with pytest.raises(error, match=text):
        call(leaf(2, 3))


# Odd arrays


@pytest.mark.parametrize("function", ["add", "matmul", "sum", "linear"])
def test_odd_memory(function):
    base = np.random.default_rng(0).standard_normal((6, 6))
    call = {"add": lambda x: F.add(x, 1), "matmul": lambda x: F.matmul(x, x), "sum": F.sum, "linear": lambda x: F.linear(x, x, x[0])}[
        function
    ]
    expected = call(np.ascontiguousarray(base[::-2, ::-2]))
    raw = np.empty(base.nbytes + 1, np.uint8)[1:].view(np.float64).reshape(6, 6)
    raw[...] = base
    assert not raw.flags.aligned
    frozen = base.copy()
    frozen.flags.writeable = False
    for x in (base[::-2, ::-2], base.astype(">f8")[::-2, ::-2], raw[::-2, ::-2], frozen[::-2, ::-2]):
        np.testing.assert_allclose(call(x), expected, rtol=1e-12)


def test_nothing_in_nothing_out():
    x = lamella.zeros(0, 3, requires_grad=True)
    y = F.linear(x, lamella.ones(4, 3), lamella.ones(4))
    assert y.shape == (0, 4)
    (y.sum() + (x * 2).sum()).backward()
    assert x.grad.shape == (0, 3)
    assert np.isnan(x.mean().item())


# gradcheck


def wrong(scale, place):
    """An operation whose gradient is wrong at one element."""

    def backward(saved, g, needs):
        dx = 2 * saved * g
        dx[place] *= scale
        return (dx,)

    return Operation("wrong", lambda x: (x * x, x), backward)


def test_gradcheck_finds_a_planted_fault():
    operation = wrong(1.01, (1, 2))
    with pytest.raises(AssertionError, match=r"1 of 144 derivatives are wrong.*d output 0\[1, 2\] / d input 0\[1, 2\]: analytic"):
        gradcheck(lambda x: apply(operation, (x,)), [leaf(3, 4)])
    assert not gradcheck(lambda x: apply(operation, (x,)), [leaf(3, 4)], raise_exception=False)
    assert gradcheck(lambda x: apply(wrong(1.0, (1, 2)), (x,)), [leaf(3, 4)])


def test_gradcheck_finds_a_planted_fault_among_many():
    x = leaf(20, 30)
    with pytest.raises(AssertionError, match="direction . of input 0, shape"):
        gradcheck(lambda x: apply(wrong(2.0, (3, 4)), (x,)), [x])
    assert gradcheck(lambda x: apply(wrong(1.0, (3, 4)), (x,)), [x])


def test_gradcheck_finds_a_missing_gradient():
    operation = Operation("none", lambda x: (x * x, None), lambda saved, g, needs: (None,))
    with pytest.raises(AssertionError, match="analytic 0"):
        gradcheck(lambda x: apply(operation, (x,)), [leaf(3)])


def test_gradcheck_of_several_inputs_and_outputs():
    x, y = leaf(2, 3), leaf(3, seed=1)
    assert gradcheck(lambda x, y, k: (x * y * k, (x + y).exp()), [x, y, lamella.tensor(2.0)])


def test_gradcheck_refuses():
    with pytest.raises(ValueError, match="at least one input that requires a gradient"):
        gradcheck(lambda x: x, [lamella.ones(3)])
    with pytest.raises(TypeError, match="expected input 0 of float64"):
        gradcheck(lambda x: x, [lamella.ones(3, requires_grad=True)])
    with pytest.raises(ValueError, match="other numbers when called again"):
        gradcheck(lambda x: F.dropout(x), [leaf(100)])


POLYNOMIAL = {  # x: f'(x), forward difference with h = 0.001, as courses print them
    -2: (-7, -6.990004),
    -1: (3, 3.000998),
    0: (1, 0.998),
    0.5: (-0.75, -0.751249),
    1: (-1, -0.998998),
    2: (9, 9.010004),
}


@pytest.mark.parametrize("x", POLYNOMIAL)
def test_numeric_gradient_of_a_polynomial(x):
    def f(x):
        return 0.5 * x**4 - 2 * x**2 + x + 5

    exact, forward = POLYNOMIAL[x]
    assert numeric_gradient(f, np.array(float(x)), h=0.001, form="forward") == pytest.approx(forward, abs=6e-7)
    assert numeric_gradient(f, np.array(float(x)), h=1e-5) == pytest.approx(exact, abs=1e-8)
    t = lamella.tensor(np.array(float(x)), requires_grad=True)
    f(t).backward()
    assert t.grad.item() == exact


def test_numeric_gradient_refuses():
    with pytest.raises(ValueError, match="form must be"):
        numeric_gradient(np.sum, np.ones(2), form="backward")
    with pytest.raises(ValueError, match="positive step"):
        numeric_gradient(np.sum, np.ones(2), h=0)
    with pytest.raises(ValueError, match="one number"):
        numeric_gradient(lambda x: x, np.ones(2))


# Random numbers


def test_random_state():
    lamella.manual_seed(5)
    assert lamella.get_rng_state() == (5, 0)
    a, b = lamella.rand(4), lamella.randn(4)
    assert lamella.get_rng_state() == (5, 2)
    assert not (a == b).any()
    lamella.set_rng_state((5, 1))
    assert (lamella.randn(4) == b).all()
    lamella.manual_seed(6)
    assert not (lamella.rand(4) == a).any()
    lamella.manual_seed(-1)
    assert lamella.initial_seed() == 2**64 - 1
    for bad in (3, (1,), (1, 2.0), "ab"):
        with pytest.raises((TypeError, ValueError)):
            lamella.set_rng_state(bad)
    with pytest.raises(ValueError, match="cannot be negative"):
        lamella.set_rng_state((1, -1))


def test_a_draw_does_not_depend_on_how_much_others_took():
    lamella.manual_seed(5)
    lamella.rand(3)
    a = lamella.rand(4)
    lamella.manual_seed(5)
    lamella.rand(1000)
    assert (lamella.rand(4) == a).all()


def test_draws_from_many_threads_are_different():
    lamella.manual_seed(5)
    drawn = []
    threads = [threading.Thread(target=lambda: drawn.extend(lamella.rand(1).item() for _ in range(50))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert lamella.get_rng_state() == (5, 200)
    assert len(set(drawn)) > 190


def test_dropout():
    x = lamella.ones(64, 8, 5, 5, requires_grad=True)
    lamella.manual_seed(1)
    y = F.dropout(x, 0.25)
    kept = y.data != 0
    np.testing.assert_allclose(y.data[kept], 1 / 0.75, rtol=1e-6)
    assert abs(kept.mean() - 0.75) < 0.02
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.data, y.data)
    lamella.manual_seed(1)
    other = F.dropout(np.asfortranarray(np.ones(x.shape)), 0.25)  # another memory order and dtype, the same mask
    np.testing.assert_array_equal(other != 0, kept)
    assert F.dropout(x, 0.25, training=False) is x
    assert not F.dropout(np.ones(10), 1.0).any()


def test_creation():
    assert lamella.zeros(2, 3).dtype == np.float32
    assert lamella.full((2,), 3).dtype == np.int64
    assert lamella.full((2,), 3.0).tolist() == [3, 3]
    assert lamella.arange(3).dtype == np.int64
    assert lamella.arange(0, 1, 0.25).dtype == np.float32
    assert lamella.eye(2, 3).shape == (2, 3)
    x = np.moveaxis(np.zeros((1, 4, 4, 3)), -1, 1)
    assert lamella.ones_like(x).data.strides == x.strides
    with pytest.raises(TypeError, match="rand: expected dtype float32 or float64"):
        lamella.rand(2, dtype="int64")


@pytest.mark.parametrize(
    ("x", "y", "expected"), [(np.float64(1), np.float64(2), np.float64), (1.0, np.float64(2), np.float64), (1.0, 2.0, np.float32)]
)
def test_numbers_without_an_array_keep_numpys_precision(x, y, expected):
    assert F.maximum(x, y).dtype == expected
    assert F.where(np.array([True, False]), x, y).dtype == expected


def test_a_single_element_stands_for_its_number():
    loss = lamella.tensor(1.25, requires_grad=True)
    assert f"{loss:.1f} {lamella.tensor(7):03d} {loss}" == "1.2 007 1.25"
    assert f"{lamella.tensor([1.5])}" == "tensor([1.5])"
    assert float(lamella.tensor([[1.5]])) == 1.5 and int(lamella.tensor([3])) == 3 and not lamella.tensor([0.0])
    assert ["a", "b"][lamella.tensor(1)] == "b" and list(range(lamella.tensor([2]))) == [0, 1]
    with pytest.raises(TypeError, match="expected a Tensor of an integer, got float32"):
        range(lamella.tensor(2.0))
    for convert in (float, int, bool):
        with pytest.raises(ValueError, match=r"expected a Tensor of one element, got shape \(2,\)"):
            convert(lamella.tensor([1.0, 2.0]))
    for use in (len, list):
        with pytest.raises(TypeError, match="item"):
            use(loss)


def test_none_and_text_are_equal_to_no_tensor():
    t = lamella.tensor([1.0, 2.0])
    assert not (t == None) and t != None and t != "mean" and None not in (t,)  # noqa: E711
    assert t.eq(1.0).tolist() == (t == 1.0).tolist() == [True, False]


def test_what_pytorch_users_write():
    torch = pytest.importorskip("torch")
    data = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
    for write in (
        lambda lib, x: x.softmax(1),
        lambda lib, x: lib.log_softmax(x, dim=-1),
        lambda lib, x: lib.relu(x).t().cpu(),
        lambda lib, x: lib.sigmoid(x.to(lib.float64)),
        lambda lib, x: x.gt(0),
        lambda lib, x: lib.zeros(2, dtype=lib.int64),
    ):
        ours, theirs = write(lamella, lamella.from_numpy(data)).numpy(), write(torch, torch.from_numpy(data)).numpy()
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    with pytest.raises(ValueError, match="at most 2 axes"):
        lamella.zeros(2, 2, 2).t()
