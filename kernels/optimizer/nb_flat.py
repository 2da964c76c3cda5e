"""Optimizer updates over all parameters in equal slices; the Numba twin of cy_flat.

    sgd     buf = mu * buf + (1 - tau) * g;  param = param - lr * buf                  all passes and terms: the folder's page
    adam    m, v = averages of g, g^2;       param = param - step * m / (sqrt(v) * correction + eps)

Shapes   lists of p.count arrays of p.sizes[i] elements, of equal memory order within a parameter; h (k,) float64
Storage  the scratch holds the arrays' addresses, a row of p.count for each list; p.starts counts the elements before a parameter
Loops    slices of SLICE elements, counted through all parameters, are the tasks: a task walks over the parameters in its slice; inside,
         one register at a time, the last one masked. Momentum of sgd and amsgrad are compiled away where they are off, other options are branches.
         All arrays are fetched 2 KB ahead
Edges    masked loads give 0 in the lanes beyond the end, masked stores leave memory alone
Cost     each array is read once and written once at most
"""

from functools import cache, lru_cache

from lamella.kernels._common.nb import Argument, Stage, array_f64, array_i64, inline, ints, program, task
from lamella.kernels._common.nb_simd import VECTOR_BYTES, maximum, prefetch_l1, select, simd
from lamella.kernels._common.table import addresses

SLICE = 16384
AHEAD = 2048  # bytes: by so much each array is fetched before it is used
LISTS = 5
TABLE, H, STARTS, COUNT, N, MOMENTUM, NESTEROV, CENTERED = range(8)  # words of the context


@cache
def parts(dtype):
    """What every pass is made of: begin, average, squares, sign_of, fetch."""
    v, real = simd(dtype), dtype.type
    zero, one, minus = real(0), real(1), real(-1)

    @inline
    def fetch(array, left):
        """A register of an array; what lies AHEAD is on its way from now on."""
        prefetch_l1(array + AHEAD)
        return v.load_n(array, left)

    @inline
    def sign_of(x):
        """-1, 1, or x itself where that is 0 or NaN."""
        return select(x > v.set(zero), v.set(one), select(v.set(zero) > x, v.set(minus), x))

    @inline
    def begin(g, param, left, h, q):
        """The parameter, shrunk by a decoupled decay, and its gradient."""
        w = fetch(param, left)
        if h[3] != 1:
            w = q[3] * w
        d = q[0] * fetch(g, left)
        if h[1] != 0:
            d = v.fma(q[1], w, d)
        if h[2] != 0:
            d = v.fma(q[2], sign_of(w), d)
        return d, w

    @inline
    def average(array, left, take, d):
        """array + take * (d - array), stored and returned."""
        a = fetch(array, left)
        a = v.fma(take, d - a, a)
        v.store_n(array, left, a)
        return a

    @inline
    def squares(array, left, keep, take, d):
        """keep * array + take * d^2, stored and returned."""
        a = v.fma(keep, fetch(array, left), take * d * d)
        v.store_n(array, left, a)
        return a

    return begin, average, squares, sign_of, fetch


# lanes(g, param, s0, s1, s2, left, h, q, flags): at most one register of each pass; s: the state, q: h in registers, flags: momentum, nesterov, centered


def sgd_lanes(dtype, momentum):
    v = simd(dtype)
    begin, *_, fetch = parts(dtype)

    @inline
    def some(g, param, buf, s1, s2, left, h, q, flags):
        d, w = begin(g, param, left, h, q)
        if momentum:
            b = v.fma(q[5], fetch(buf, left), q[6] * d)
            v.store_n(buf, left, b)
            d = v.fma(q[5], b, d) if flags[1] else b
        v.store_n(param, left, v.fma(-q[4], d, w))

    return some


def adam_lanes(dtype, amsgrad):
    v = simd(dtype)
    begin, average, squares, _, fetch = parts(dtype)

    @inline
    def some(g, param, pm, pv, pu, left, h, q, flags):
        d, w = begin(g, param, left, h, q)
        m = average(pm, left, q[4], d)
        u = squares(pv, left, q[5], q[6], d)
        if amsgrad:
            u = maximum(fetch(pu, left), u)
            v.store_n(pu, left, u)
        m = q[7] * m
        if flags[1]:
            m = v.fma(q[8], d, m)
        v.store_n(param, left, w - m / v.fma(v.sqrt(u + q[10]), q[9], q[11]))

    return some


def rms_lanes(dtype, option):
    v = simd(dtype)
    begin, average, squares, _, fetch = parts(dtype)

    @inline
    def some(g, param, pv, mean, buf, left, h, q, flags):
        d, w = begin(g, param, left, h, q)
        u = squares(pv, left, q[5], q[6], d)
        if flags[2]:
            a = average(mean, left, q[6], d)
            u = v.fma(-a, a, u)
        d = d / (v.sqrt(u + q[8]) + q[9])
        if flags[0]:
            d = v.fma(q[7], fetch(buf, left), d)
            v.store_n(buf, left, d)
        v.store_n(param, left, v.fma(-q[4], d, w))

    return some


def adamax_lanes(dtype, option):
    v = simd(dtype)
    begin, average, _, _, fetch = parts(dtype)

    @inline
    def some(g, param, pm, pu, s2, left, h, q, flags):
        d, w = begin(g, param, left, h, q)
        m = average(pm, left, q[4], d)
        u = maximum(q[5] * fetch(pu, left), maximum(-d, d) + q[7])
        v.store_n(pu, left, u)
        v.store_n(param, left, v.fma(-q[6], m / (u + q[8]), w))

    return some


def adadelta_lanes(dtype, option):
    v = simd(dtype)
    begin, _, squares, _, fetch = parts(dtype)

    @inline
    def some(g, param, pv, delta, s2, left, h, q, flags):
        d, w = begin(g, param, left, h, q)
        u = squares(pv, left, q[5], q[6], d)
        d = d * (v.sqrt(fetch(delta, left) + q[7]) / v.sqrt(u + q[7]))
        squares(delta, left, q[5], q[6], d)
        v.store_n(param, left, v.fma(-q[4], d, w))

    return some


def sign_lanes(dtype, option):
    v = simd(dtype)
    begin, average, _, sign_of, fetch = parts(dtype)

    @inline
    def some(g, param, pm, s1, s2, left, h, q, flags):
        d, w = begin(g, param, left, h, q)
        if flags[0]:
            m = fetch(pm, left)
            average(pm, left, q[6], d)
            d = v.fma(q[5], d - m, m)
        if h[7] != 0:
            d = d / (maximum(-d, d) + q[7])
        else:
            d = sign_of(d)
        v.store_n(param, left, v.fma(-q[4], d, w))

    return some


# of each pass: its loop, its lists, its numbers, and nanoseconds per element
RULES = {
    "sgd": (sgd_lanes, 3, 7, 0.5),
    "adam": (adam_lanes, 5, 12, 1.0),
    "rms": (rms_lanes, 5, 10, 1.0),
    "adamax": (adamax_lanes, 4, 9, 1.0),
    "adadelta": (adadelta_lanes, 4, 8, 1.0),
    "sign": (sign_lanes, 3, 8, 0.5),
}


@cache
def tasks(dtype, rule, option):
    """The task of a pass; option is the momentum of sgd, or amsgrad."""
    lanes, lists, numbers, _ = RULES[rule]
    some = lanes(dtype, option)
    v, real, item = simd(dtype), dtype.type, dtype.itemsize
    width = v.lanes
    third, fourth = lists > 3, lists > 4
    last = numbers - 1

    @inline
    def update(table, k, count, at, n, h, flags):
        """n elements of parameter k, from byte `at` on."""
        q = (
            v.set(real(h[0])), v.set(real(h[1])), v.set(real(h[2])), v.set(real(h[3])), v.set(real(h[4])), v.set(real(h[5])), v.set(real(h[6])),
            v.set(real(h[min(7, last)])), v.set(real(h[min(8, last)])), v.set(real(h[min(9, last)])), v.set(real(h[min(10, last)])),
            v.set(real(h[min(11, last)])),
        )  # fmt: skip
        g, param = table[k] + at, table[count + k] + at
        s0 = table[2 * count + k] + at
        s1 = table[3 * count + k] + at if third else 0
        s2 = table[4 * count + k] + at if fourth else 0
        whole = n // width * VECTOR_BYTES
        for i in range(0, whole, VECTOR_BYTES):
            some(g + i, param + i, s0 + i, s1 + i, s2 + i, width, h, q, flags)
        if n % width:
            some(g + whole, param + whole, s0 + whole, s1 + whole, s2 + whole, n % width, h, q, flags)

    @task
    def work(ctx, task, slot):
        c = ints(ctx)
        table, h, starts, count = array_i64(c[TABLE]), array_f64(c[H]), array_i64(c[STARTS]), c[COUNT]
        flags = c[MOMENTUM] != 0, c[NESTEROV] != 0, c[CENTERED] != 0
        i = task * SLICE
        end = min(i + SLICE, c[N])
        low, high = 0, count
        while high - low > 1:  # starts[low] <= i < starts[high]
            middle = (low + high) // 2
            if starts[middle] <= i:
                low = middle
            else:
                high = middle
        while i < end:
            stop = min(end, starts[low + 1])
            update(table, low, count, (i - starts[low]) * item, stop - i, h, flags)
            i = stop
            low += 1

    return work


@lru_cache(4096)
def _program(p, rule):
    words = [Argument(1), Argument(0), p.starts, p.count, p.n, int(p.momentum), int(p.nesterov), int(p.centered)]
    option = p.momentum if rule == "sgd" else p.amsgrad if rule == "adam" else False
    return program(words, Stage(tasks(p.dtype, rule, option), -(-p.n // SLICE), RULES[rule][3] * p.n))


def _run(p, rule, h, scratch, *lists):
    """Lists that no option asks for are given as `param`: their addresses are there, and not used."""
    addresses(scratch, *lists)
    _program(p, rule)(h, scratch)


def scratch(pass_, p):
    """The table of addresses."""
    return 8 * LISTS * p.count, 0


def sgd(p, h, g, param, buf, scratch):
    _run(p, "sgd", h, scratch, g, param, buf if p.momentum else param)


def adam(p, h, g, param, m, v, vmax, scratch):
    _run(p, "adam", h, scratch, g, param, m, v, vmax if p.amsgrad else param)


def rms(p, h, g, param, v, mean, buf, scratch):
    _run(p, "rms", h, scratch, g, param, v, mean if p.centered else param, buf if p.momentum else param)


def adamax(p, h, g, param, m, u, scratch):
    _run(p, "adamax", h, scratch, g, param, m, u)


def adadelta(p, h, g, param, v, delta, scratch):
    _run(p, "adadelta", h, scratch, g, param, v, delta)


def sign(p, h, g, param, m, scratch):
    _run(p, "sign", h, scratch, g, param, m if p.momentum else param)
