"""Optimizer updates over memory in equal slices; the Numba twin of cy_flat.

    sgd     buf = mu * buf + (1 - tau) * g;  param = param - lr * buf                  all terms: the folder's page
    adam    m, v = averages of g, g^2;       param = param - step * m / (sqrt(v) * correction + eps)

Shapes   one-dimensional runs of n elements; param and state in place, all of equal memory order; h (k,) float64
Loops    slices of SLICE elements are the tasks; LLVM turns the branch-free loop into vector code. A term that is switched off is
         compiled away (momentum, nesterov, amsgrad) or selected by a factor that is the same for the whole run
Edges    LLVM's scalar remainder loop
Cost     each array is read once and written once at most
"""

from functools import cache

import numpy as np
from lamella.kernels._common.nb import array_f64, context, floats_of, ints, run, task

SLICE = 16384


@cache
def sgd_task(dtype, momentum, nesterov):
    array = floats_of(dtype)
    real = np.float32 if dtype == np.float32 else np.float64

    @task
    def work(ctx, task, slot):
        c = ints(ctx)
        h = array_f64(c[0])
        g, param, buf, n = array(c[1]), array(c[2]), array(c[3]), c[4]
        sign = real(-1) if c[5] else real(1)
        lr, mu, take, decay = real(h[0]), real(h[1]), real(h[2]), real(h[3])
        decays = decay != real(0)
        start = task * SLICE
        for i in range(start, min(start + SLICE, n)):
            w = param[i]
            d = sign * g[i]
            if decays:
                d = d + decay * w
            if momentum:
                b = mu * buf[i] + take * d
                buf[i] = b
                d = d + mu * b if nesterov else b
            param[i] = w - lr * d

    return work


@cache
def adam_task(dtype, amsgrad):
    array = floats_of(dtype)
    real = np.float32 if dtype == np.float32 else np.float64

    @task
    def work(ctx, task, slot):
        c = ints(ctx)
        h = array_f64(c[0])
        g, param, m, v, vmax, n = array(c[1]), array(c[2]), array(c[3]), array(c[4]), array(c[5]), c[6]
        sign = real(-1) if c[7] else real(1)
        coupled = h[3] != 0.0 and c[8] == 0
        decoupled = h[3] != 0.0 and c[8] != 0
        decay = real(h[3])
        keep = real(h[4]) if decoupled else real(1)
        take1, beta2, take2, step, correction, eps = real(h[0]), real(h[1]), real(h[2]), real(h[5]), real(h[6]), real(h[7])
        start = task * SLICE
        for i in range(start, min(start + SLICE, n)):
            w = param[i]
            d = sign * g[i]
            if coupled:
                d = d + decay * w
            w = w * keep
            m1 = m[i]
            m1 = m1 + take1 * (d - m1)
            v1 = beta2 * v[i] + take2 * d * d
            m[i] = m1
            v[i] = v1
            if amsgrad:
                u = vmax[i]
                v1 = u if u > v1 else v1
                vmax[i] = v1
            param[i] = w - step * (m1 / (np.sqrt(v1) * correction + eps))

    return work


def sgd(p, h, g, param, buf, scratch):
    ctx = context(h, g, param, buf if p.momentum else None, p.n, int(p.maximize))
    run(sgd_task(p.dtype, p.momentum, p.nesterov), ctx, -(-p.n // SLICE), 1.0 * p.n)


def adam(p, h, g, param, m, v, vmax, scratch):
    ctx = context(h, g, param, m, v, vmax if p.amsgrad else None, p.n, int(p.maximize), int(p.decoupled))
    run(adam_task(p.dtype, p.amsgrad), ctx, -(-p.n // SLICE), 2.0 * p.n)
