"""Sums in registers for few rows or few columns, emitted as LLVM IR; the twin of rank_rows and dot_tile of cy_packed.

    rank = rank_sums(dtype, rows, steps)
    rank.many(a, ars, acs, b, brs, n, sums)                 sums += `steps` columns of A times `steps` rows of B; rank.one: a single one
    dots = dot_sums(dtype)
    dots.many(rows, columns, k, a, ars, b, bcs, sums)       sums = rows of A times columns of B, along k; dots.one: of a single row

Shapes   rank: n columns; sums (rows, RANK_COLUMNS). dots: at most dot_rows x dot_columns; sums in rows of NV registers
Storage  strides count bytes; rank: rows of B are contiguous; dots: rows of A and columns of B are
Loops    rank: registers of the columns. dots: registers along k for all products at once, which one transposing sum turns into one register
         of results
Edges    the last columns, or what is left of k, by a mask. Rows and columns that dots lacks repeat the last one, and are not stored.
"""

from functools import cache

import numpy as np
from lamella.kernels._common.nb_simd import (
    VECTOR_BYTES,
    add_lanes,
    first,
    fma,
    lanes,
    load,
    namespace,
    operation,
    prefetch,
    splat,
    store,
)  # fmt: skip
from lamella.kernels._common.nb_tile import NV
from llvmlite import ir
from numba import types

RANK_COLUMNS = 512
_I64 = ir.IntType(64)


def _constant(value):
    return ir.Constant(_I64, value)


def dot_columns(dtype):
    return min(4, lanes(dtype))


def dot_rows(dtype):
    """Products of a dot tile fill one register."""
    return lanes(dtype) // dot_columns(dtype)


def _registers(dtype):
    element = ir.FloatType() if dtype == np.float32 else ir.DoubleType()
    return element, ir.VectorType(element, lanes(dtype))


def _number(b, address, element):
    return b.load(b.inttoptr(address, element.as_pointer()))


def _loop(b, count, values, body):
    """for i in range(count): values = body(i, values)"""
    entry, (head, inside, done) = b.block, [b.append_basic_block(name) for name in ("head", "inside", "done")]
    b.branch(head)
    b.position_at_end(head)
    i, phis = b.phi(_I64), [b.phi(value.type) for value in values]
    b.cbranch(b.icmp_signed("<", i, count), inside, done)
    b.position_at_end(inside)
    after = [b.add(i, _constant(1)), *body(i, phis)]
    for phi, start, value in zip([i, *phis], [_constant(0), *values], after):
        phi.add_incoming(start, entry)
        phi.add_incoming(value, b.block)
    b.branch(head)
    b.position_at_end(done)
    return phis


def _rank(dtype, mr, steps):
    element, vector = _registers(dtype)
    item, count = dtype.itemsize, lanes(dtype)

    def code(b, a, ars, acs, start, brs, n, sums):
        at = [b.add(start, b.mul(brs, _constant(u))) for u in range(steps)]
        s = [
            [
                splat(b, _number(b, b.add(a, b.add(b.mul(ars, _constant(i)), b.mul(acs, _constant(u)))), element), count)
                for u in range(steps)
            ]
            for i in range(mr)
        ]
        jump = b.mul(brs, _constant(steps))

        def columns(j, mask):
            x = b.mul(j, _constant(VECTOR_BYTES))
            to = [b.add(b.add(sums, x), _constant(i * RANK_COLUMNS * item)) for i in range(mr)]
            v = [load(b, address, vector, mask) for address in to]
            for u in range(steps):
                here = b.add(at[u], x)
                row = load(b, here, vector, mask)
                prefetch(b, b.add(here, jump))
                v = [fma(b, s[i][u], row, v[i]) for i in range(mr)]
            for address, value in zip(to, v):
                store(b, value, address, mask)

        whole = b.sdiv(n, _constant(count))
        _loop(b, whole, [], lambda j, _: columns(j, None) or [])
        rest = b.sub(n, b.mul(whole, _constant(count)))
        with b.if_then(b.icmp_signed(">", rest, _constant(0))):
            columns(whole, first(b, rest, count))

    return operation(None, (types.int64,) * 7, code)


def _dots(dtype, mr):
    _, vector = _registers(dtype)
    item, count, nr = dtype.itemsize, lanes(dtype), dot_columns(dtype)

    def code(b, rows, columns, k, a, ars, start, bcs, sums):
        def lines(address, step, number, there):
            return [
                b.add(address, b.mul(step, b.select(b.icmp_signed("<", _constant(i), there), _constant(i), b.sub(there, _constant(1)))))
                for i in range(number)
            ]

        ai, bj = lines(a, ars, mr, rows), lines(start, bcs, nr, columns)

        def products(l, acc, mask):
            x = b.mul(l, _constant(VECTOR_BYTES))
            bv = [load(b, b.add(address, x), vector, mask) for address in bj]
            av = [load(b, b.add(address, x), vector, mask) for address in ai]
            return [fma(b, av[i], bv[j], acc[i * nr + j]) for i in range(mr) for j in range(nr)]

        zero = ir.Constant(vector, [0.0] * count)
        whole = b.sdiv(k, _constant(count))
        acc = _loop(b, whole, [zero] * (mr * nr), lambda l, acc: products(l, acc, None))
        rest = b.sub(k, b.mul(whole, _constant(count)))
        before = b.block
        with b.if_then(b.icmp_signed(">", rest, _constant(0))):
            more, inside = products(whole, acc, first(b, rest, count)), b.block
        summed = []
        for old, new in zip(acc, more):
            phi = b.phi(vector)
            phi.add_incoming(old, before)
            phi.add_incoming(new, inside)
            summed.append(phi)
        result = add_lanes(b, summed + [zero] * (count - len(summed)))
        for i in range(mr):
            row = b.shuffle_vector(result, result, ir.Constant(ir.VectorType(ir.IntType(32), nr), list(range(i * nr, i * nr + nr))))
            wanted = b.select(b.icmp_signed("<", _constant(i), rows), columns, _constant(0))
            store(b, row, b.add(sums, _constant(i * NV * count * item)), first(b, wanted, nr))

    return operation(None, (types.int64,) * 8, code)


@cache
def rank_sums(dtype, rows, steps):
    return namespace(f"rank_sums_{dtype}_{rows}_{steps}", many=_rank(dtype, rows, steps), one=_rank(dtype, rows, 1))


@cache
def dot_sums(dtype):
    return namespace(f"dot_sums_{dtype}", many=_dots(dtype, dot_rows(dtype)), one=_dots(dtype, 1))
