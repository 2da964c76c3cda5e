"""Optimizer updates over all parameters in equal slices; the Numba twin of cy_flat.

    sgd     buf = mu * buf + (1 - tau) * g;  param = param - lr * buf                  all terms: the folder's page
    adam    m, v = averages of g, g^2;       param = param - step * m / (sqrt(v) * correction + eps)

Shapes   lists of p.count arrays of p.sizes[i] elements, of equal memory order within a parameter; h (k,) float64
Storage  the scratch holds the arrays' addresses, a row of p.count for each list; p.starts counts the elements before a parameter
Loops    slices of SLICE elements, counted through all parameters, are the tasks: a task walks over the parameters in its slice; inside,
         one register at a time, the last one masked. Momentum and amsgrad are compiled away where they are off
Edges    masked loads give 0 in the lanes beyond the end, masked stores leave memory alone
Cost     each array is read once and written once at most
"""

from functools import cache, lru_cache

from lamella.kernels._common.nb import Argument, Stage, array_f64, array_i64, inline, ints, program, task
from lamella.kernels._common.nb_simd import VECTOR_BYTES, maximum, simd
from lamella.kernels._common.table import addresses

SLICE = 16384
LISTS = 5
TABLE, H, STARTS, COUNT, N, NESTEROV, DECOUPLED = range(7)  # words of the context


@cache
def sgd_update(dtype, momentum):
    """update(table, k, count, at, n, h, nesterov, decoupled): n elements of parameter k, from byte `at` on."""
    v, real = simd(dtype), dtype.type
    lanes = v.lanes

    @inline
    def some(g, param, buf, left, scale, lr, mu, take, decay, decays, nesterov):
        """At most one register."""
        w = v.load_n(param, left)
        d = scale * v.load_n(g, left)
        if decays:
            d = v.fma(decay, w, d)
        if momentum:
            b = v.fma(mu, v.load_n(buf, left), take * d)
            v.store_n(buf, left, b)
            d = v.fma(mu, b, d) if nesterov else b
        v.store_n(param, left, v.fma(lr, d, w))

    @inline
    def update(table, k, count, at, n, h, nesterov, decoupled):
        numbers = v.set(real(h[0])), v.set(real(-h[1])), v.set(real(h[2])), v.set(real(h[3])), v.set(real(h[4])), h[4] != 0, nesterov != 0
        g, param, buf = table[k] + at, table[count + k] + at, (table[2 * count + k] + at) if momentum else 0
        whole = n // lanes * VECTOR_BYTES
        for i in range(0, whole, VECTOR_BYTES):
            some(g + i, param + i, buf + i, lanes, *numbers)
        if n % lanes:
            some(g + whole, param + whole, buf + whole, n % lanes, *numbers)

    return update


@cache
def adam_update(dtype, amsgrad):
    """As sgd_update."""
    v, real = simd(dtype), dtype.type
    lanes = v.lanes

    @inline
    def some(g, param, pm, pv, pu, left, scale, take1, beta2, take2, decay, keep, step, correction, eps, decays, decoupled):
        """At most one register."""
        w = v.load_n(param, left)
        d = scale * v.load_n(g, left)
        if decays:
            if decoupled:
                w = keep * w
            else:
                d = v.fma(decay, w, d)
        m = v.load_n(pm, left)
        m = v.fma(take1, d - m, m)
        u = v.fma(beta2, v.load_n(pv, left), take2 * d * d)
        v.store_n(pm, left, m)
        v.store_n(pv, left, u)
        if amsgrad:
            u = maximum(v.load_n(pu, left), u)
            v.store_n(pu, left, u)
        v.store_n(param, left, v.fma(step, m / v.fma(v.sqrt(u), correction, eps), w))

    @inline
    def update(table, k, count, at, n, h, nesterov, decoupled):
        first = v.set(real(h[0])), v.set(real(h[1])), v.set(real(h[2])), v.set(real(h[3])), v.set(real(h[4]))
        second = v.set(real(h[5])), v.set(real(-h[6])), v.set(real(h[7])), v.set(real(h[8])), h[4] != 0, decoupled != 0
        g, param, pm, pv = table[k] + at, table[count + k] + at, table[2 * count + k] + at, table[3 * count + k] + at
        pu = (table[4 * count + k] + at) if amsgrad else 0
        whole = n // lanes * VECTOR_BYTES
        for i in range(0, whole, VECTOR_BYTES):
            some(g + i, param + i, pm + i, pv + i, pu + i, lanes, *first, *second)
        if n % lanes:
            some(g + whole, param + whole, pm + whole, pv + whole, pu + whole, n % lanes, *first, *second)

    return update


@cache
def tasks(dtype, adam, option):
    """The task of a pass; option is momentum or amsgrad."""
    update = (adam_update if adam else sgd_update)(dtype, option)
    item = dtype.itemsize

    @task
    def work(ctx, task, slot):
        c = ints(ctx)
        table, h, starts, count = array_i64(c[TABLE]), array_f64(c[H]), array_i64(c[STARTS]), c[COUNT]
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
            update(table, low, count, (i - starts[low]) * item, stop - i, h, c[NESTEROV], c[DECOUPLED])
            i = stop
            low += 1

    return work


@lru_cache(4096)
def _program(p, adam):
    words = [Argument(1), Argument(0), p.starts, p.count, p.n, int(p.nesterov), int(p.decoupled)]
    return program(words, Stage(tasks(p.dtype, adam, p.amsgrad if adam else p.momentum), -(-p.n // SLICE), (1.0 if adam else 0.5) * p.n))


def scratch(pass_, p):
    """The table of addresses."""
    return 8 * LISTS * p.count, 0


def sgd(p, h, g, param, buf, scratch):
    addresses(scratch, g, param, buf if p.momentum else None)
    _program(p, False)(h, scratch)


def adam(p, h, g, param, m, v, vmax, scratch):
    addresses(scratch, g, param, m, v, vmax if p.amsgrad else None)
    _program(p, True)(h, scratch)
