"""Registers of pixels and of places for Numba tasks: taps by whole numbers in memory, three channels taken apart and put together."""

from functools import cache

from lamella.kernels._common.nb_simd import Vector, _shuffle, fma, load, namespace, operation, simd, splat, store
from llvmlite import ir
from numba import types

_I8, _I32, _I64 = (ir.IntType(bits) for bits in (8, 32, 64))


def _iota(count):
    return ir.Constant(ir.VectorType(_I32, count), list(range(count)))


def _joined(b, parts):
    """The parts, as many as a power of two, one behind the other."""
    while len(parts) > 1:
        width = 2 * parts[0].type.count
        parts = [_shuffle(b, x, y, list(range(width))) for x, y in zip(parts[::2], parts[1::2])]
    return parts[0]


def _chosen(b, three, lanes):
    """Of three registers, one behind the other, these lanes."""
    count = len(lanes)
    both = _shuffle(b, three[0], three[1], [lane if lane < 2 * count else 0 for lane in lanes])
    return _shuffle(b, both, three[2], [i if lane < 2 * count else lane - count for i, lane in enumerate(lanes)])


@cache
def places(dtype):
    """int32 beside the lanes of a register of the dtype; they wrap around.

    set(i); upwards(i): i, i + 1, ...; store; shift (with the sign), logical (without), xor; numbers(i), truncated(x)
    nearest(src, at): elements of src, whose numbers stand at `at` in memory; bilinear(src, ld, at, right, down): between those, the ones behind
    them, and the row ld bytes further
    backwards(x): the lanes in falling order; together(to, x, y, z): three registers written lane by lane in turn
    """
    v = simd(dtype)
    kind, count, at, whole = v.type, v.lanes, types.int64, Vector(types.int32, v.lanes)
    item, element = dtype.itemsize, ir.FloatType() if dtype.itemsize == 4 else ir.DoubleType()
    vector, integers = ir.VectorType(element, count), ir.VectorType(_I32, count)

    def spread(b, i):
        return splat(b, b.trunc(i, _I32), count)

    def addresses(b, src, at):
        numbers = (b.load(b.inttoptr(b.add(at, _I64(4 * lane)), _I32.as_pointer())) for lane in range(count))
        return [b.add(src, b.mul(b.sext(number, _I64), _I64(item))) for number in numbers]

    def nearest(b, src, at):
        out = ir.Constant(vector, ir.Undefined)
        for lane, address in enumerate(addresses(b, src, at)):
            out = b.insert_element(out, b.load(b.inttoptr(address, element.as_pointer())), _I32(lane))
        return out

    def linear(b, tap, right):
        pairs = _joined(b, [load(b, address, ir.VectorType(element, 2)) for address in tap])
        first, second = (_shuffle(b, pairs, pairs, list(range(start, 2 * count, 2))) for start in (0, 1))
        return fma(b, right, b.fsub(second, first), first)

    def bilinear(b, src, ld, at, right, down):
        upper = addresses(b, src, at)
        first, second = linear(b, upper, right), linear(b, [b.add(address, ld) for address in upper], right)
        return fma(b, down, b.fsub(second, first), first)

    def together(b, to, *three):
        for j in range(3):
            lanes = [(j * count + i) % 3 * count + (j * count + i) // 3 for i in range(count)]
            store(b, _chosen(b, three, lanes), b.add(to, _I64(j * count * item)))

    return namespace(
        f"places_{kind}",
        set=operation(whole, (at,), spread),
        upwards=operation(whole, (at,), lambda b, i: b.add(spread(b, i), _iota(count))),
        store=operation(None, (at, whole), lambda b, address, x: store(b, x, address)),
        shift=operation(whole, (whole, at), lambda b, x, n: b.ashr(x, spread(b, n))),
        logical=operation(whole, (whole, at), lambda b, x, n: b.lshr(x, spread(b, n))),
        xor=operation(whole, (whole, whole), lambda b, x, y: b.xor(x, y)),
        numbers=operation(kind, (whole,), lambda b, x: b.sitofp(x, vector)),
        truncated=operation(whole, (kind,), lambda b, x: b.fptosi(x, integers)),
        nearest=operation(kind, (at, at), nearest),
        bilinear=operation(kind, (at, at, at, kind, kind), bilinear),
        backwards=operation(kind, (kind,), lambda b, x: _shuffle(b, x, x, list(range(count))[::-1])),
        together=operation(None, (at, kind, kind, kind), together),
    )


@cache
def pixels(dtype, source):
    """Bytes, or numbers of the dtype, as a register of the dtype.

    load(src); apart(src, to, plane): of three channels lane by lane in turn, each to planes that are `plane` bytes apart
    """
    v = simd(dtype)
    kind, count, at = v.type, v.lanes, types.int64
    element = ir.FloatType() if dtype.itemsize == 4 else ir.DoubleType()
    pixel, item = (_I8, 1) if source == "uint8" else (element, dtype.itemsize)

    def number(b, x):
        return x if pixel == element else b.uitofp(x, ir.VectorType(element, count))

    def read(b, address):
        return load(b, address, ir.VectorType(pixel, count))

    def apart(b, src, to, plane):
        three = [read(b, b.add(src, _I64(j * count * item))) for j in range(3)]
        for channel in range(3):
            x = number(b, _chosen(b, three, [3 * i + channel for i in range(count)]))
            store(b, x, b.add(to, b.mul(plane, _I64(channel))))

    return namespace(
        f"pixels_{source}_{kind}",
        load=operation(kind, (at,), lambda b, address: number(b, read(b, address))),
        apart=operation(None, (at, at, at), apart),
    )
