"""Vector registers for Numba tasks; the twin of simd.pxd.

    v = simd(np.dtype("float32"))          one register: v.lanes floats
    v = simd(np.dtype("float32"), 4)       four registers that are worked on together: as many independent chains, one loop

    v.load(address)  v.store(address, x)  v.load_n(address, n)  v.store_n(address, n, x)        n: the first n lanes only
    v.set(s)  v.zero()  v.fma(x, y, z)  v.sqrt(x)  v.head(n)  v.sum(x)  v.largest(x)  v.any(mask)
    x + y  x - y  x * y  x / y  -x  x > y  x >= y  x < y  x == y  x != y         numbers become vectors; comparisons give masks
    select(mask, x, y)  maximum(x, y)  minimum(x, y)                             of vectors, or of numbers; mask | mask
    prefetch_l1(address)  prefetch_l2(address)  prefetch_write(address)             the line at an address: into L1, into L2, to be written

LLVM's own vectoriser leaves remainders to scalar loops, keeps sums in memory where it cannot tell arrays apart, and stops at the first call. Here vectors
are values of Numba's type system, as wide as LAMELLA_ISA says; LLVM gives them registers and splits those of several.

Choose lanes before computing with them: where LLVM 22 sees a masked load, arithmetic and `select` by the same mask, it may load the whole register.

maximum and minimum give y where either is NaN, as the instructions do: what must propagate stands second.
"""

import operator
from functools import cache, partial
from types import ModuleType

import numpy as np
from lamella.kernels import ISA
from llvmlite import ir
from numba import types
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

VECTOR_BYTES = {"v4": 64, "v3": 32, "base": 16}[ISA]
FMA = ISA != "base"
_I32 = ir.IntType(32)


class Vector(types.Type):
    """`lanes` numbers of one type; of booleans: a mask."""

    def __init__(self, element, lanes):
        self.element, self.lanes = element, lanes
        super().__init__(f"Vector({element} x {lanes})")


def _element(kind):
    if kind == types.boolean:
        return ir.IntType(1)
    if isinstance(kind, types.Float):
        return ir.FloatType() if kind == types.float32 else ir.DoubleType()
    return ir.IntType(kind.bitwidth)


@register_model(Vector)
class _Model(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, ir.VectorType(_element(fe_type.element), fe_type.lanes))


def lanes(dtype):
    return VECTOR_BYTES // np.dtype(dtype).itemsize


def splat(builder, scalar, n):
    vector = ir.VectorType(scalar.type, n)
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), scalar, ir.Constant(_I32, 0))
    return builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), ir.Constant(ir.VectorType(_I32, n), [0] * n))


def declare(builder, name, result, arguments):
    module = builder.module
    return module.globals.get(name) or ir.Function(module, ir.FunctionType(result, arguments), name)


def fma(builder, x, y, z):
    """x * y + z, rounded once where the instruction exists (elsewhere llvm.fma would be a library call)."""
    if not FMA:
        return builder.fadd(builder.fmul(x, y), z)
    kind = x.type
    return builder.call(declare(builder, f"llvm.fma.{suffix(kind)}", kind, [kind] * 3), [x, y, z])


def suffix(vector):
    """Of the names of LLVM's intrinsics."""
    element = vector.element
    kind = "f32" if isinstance(element, ir.FloatType) else "f64" if isinstance(element, ir.DoubleType) else f"i{element.width}"
    return f"v{vector.count}{kind}"


def first(builder, n, count):
    """The mask of the first n of `count` lanes (none for n <= 0); n is an int64 below 2^31."""
    iota = ir.Constant(ir.VectorType(_I32, count), list(range(count)))
    return builder.icmp_signed("<", iota, splat(builder, builder.trunc(n, _I32), count))


def load(builder, address, kind, mask=None):
    """Unaligned; lanes outside the mask are 0 and not touched."""
    pointer = builder.inttoptr(address, kind.as_pointer())
    align = kind.element.width // 8 if isinstance(kind.element, ir.IntType) else 4 if isinstance(kind.element, ir.FloatType) else 8
    if mask is None:
        value = builder.load(pointer)
        value.align = align
        return value
    function = declare(builder, f"llvm.masked.load.{suffix(kind)}.p0", kind, [pointer.type, _I32, mask.type, kind])
    return builder.call(function, [pointer, ir.Constant(_I32, align), mask, ir.Constant(kind, [0] * kind.count)])


def store(builder, value, address, mask=None):
    kind = value.type
    pointer = builder.inttoptr(address, kind.as_pointer())
    align = kind.element.width // 8 if isinstance(kind.element, ir.IntType) else 4 if isinstance(kind.element, ir.FloatType) else 8
    if mask is None:
        builder.store(value, pointer).align = align
    else:
        function = declare(builder, f"llvm.masked.store.{suffix(kind)}.p0", ir.VoidType(), [kind, pointer.type, _I32, mask.type])
        builder.call(function, [value, pointer, ir.Constant(_I32, align), mask])


# Operators


def _vectors(context, builder, sig, args):
    """Both operands as vectors."""
    kind = next(t for t in sig.args if isinstance(t, Vector))
    return [
        x if isinstance(t, Vector) else splat(builder, context.cast(builder, x, t, kind.element), kind.lanes)
        for t, x in zip(sig.args, args)
    ]


def _binary(function, code, comparison):
    @infer_global(function)
    class Template(AbstractTemplate):
        def generic(self, args, kws):
            found = [t for t in args if isinstance(t, Vector)]
            if found and all(t == found[0] or isinstance(t, types.Number) for t in args):
                return signature(Vector(types.boolean, found[0].lanes) if comparison else found[0], *args)

    def lowered(context, builder, sig, args):
        kind = next(t for t in sig.args if isinstance(t, Vector)).element
        return code(builder, isinstance(kind, types.Float), *_vectors(context, builder, sig, args))

    for kinds in ((Vector, Vector), (Vector, types.Number), (types.Number, Vector)):
        lower_builtin(function, *kinds)(lowered)


def _compare(sign):
    def code(builder, real, x, y):
        if real:  # NaN is not equal, and in no order
            return (builder.fcmp_unordered if sign == "!=" else builder.fcmp_ordered)(sign, x, y)
        return builder.icmp_signed(sign, x, y)

    return code


for _function, _real, _integer in ((operator.add, "fadd", "add"), (operator.sub, "fsub", "sub"), (operator.mul, "fmul", "mul")):
    _binary(_function, lambda b, real, x, y, f=_real, i=_integer: getattr(b, f if real else i)(x, y), False)
_binary(operator.truediv, lambda b, real, x, y: b.fdiv(x, y), False)
_binary(operator.or_, lambda b, real, x, y: b.or_(x, y), False)
_binary(operator.and_, lambda b, real, x, y: b.and_(x, y), False)
for _function, _sign in zip(
    (operator.gt, operator.ge, operator.lt, operator.le, operator.eq, operator.ne), (">", ">=", "<", "<=", "==", "!=")
):
    _binary(_function, _compare(_sign), True)


@infer_global(operator.neg)
class _Negative(AbstractTemplate):
    def generic(self, args, kws):
        if isinstance(args[0], Vector):
            return signature(args[0], args[0])


@lower_builtin(operator.neg, Vector)
def _negative(context, builder, sig, args):
    return builder.fneg(args[0])


def _common(*kinds):
    """The type of a result of vectors and numbers."""
    return next((t for t in kinds if isinstance(t, Vector)), kinds[0])


def _as(context, builder, kind, to, value):
    if not isinstance(to, Vector):
        return context.cast(builder, value, kind, to)
    return value if isinstance(kind, Vector) else splat(builder, context.cast(builder, value, kind, to.element), to.lanes)


@intrinsic
def select(typingctx, mask, x, y):
    """x where the mask is set, else y."""
    kind = _common(x, y)
    if isinstance(mask, Vector) and not isinstance(kind, Vector):
        kind = Vector(kind, mask.lanes)

    def codegen(context, builder, sig, args):
        return builder.select(args[0], _as(context, builder, x, kind, args[1]), _as(context, builder, y, kind, args[2]))

    return kind(mask, x, y), codegen


def _extreme(sign):
    @intrinsic
    def extreme(typingctx, x, y):
        kind = _common(x, y)

        def codegen(context, builder, sig, args):
            a, b = (_as(context, builder, t, kind, value) for t, value in zip((x, y), args))
            real = isinstance(getattr(kind, "element", kind), types.Float)
            return builder.select(builder.fcmp_ordered(sign, a, b) if real else builder.icmp_signed(sign, a, b), a, b)

        return kind(x, y), codegen

    return extreme


maximum, minimum = _extreme(">"), _extreme("<")


def operation(result, arguments, code):
    """An intrinsic: `code(builder, *arguments)` gives LLVM's value of type `result`, a Numba type (None: nothing)."""

    def codegen(context, builder, sig, args):
        value = code(builder, *args)
        return context.get_dummy_value() if result is None else value

    sig = (types.void if result is None else result)(*arguments)
    found = (sig, codegen)
    takes = (
        lambda typingctx: found,
        lambda typingctx, a: found,
        lambda typingctx, a, b: found,
        lambda typingctx, a, b, c: found,
        lambda typingctx, a, b, c, d: found,
        lambda typingctx, a, b, c, d, e: found,
        lambda typingctx, a, b, c, d, e, f: found,
        lambda typingctx, a, b, c, d, e, f, g: found,
        lambda typingctx, a, b, c, d, e, f, g, h: found,
    )
    return intrinsic(takes[len(arguments)])


def prefetch(builder, address, write=False, locality=3):
    """Fetch the line at an address: into L1, or with locality 2 into L2."""
    pointer = builder.inttoptr(address, ir.IntType(8).as_pointer())
    numbers = [ir.Constant(_I32, value) for value in (int(write), locality, 1)]
    builder.call(declare(builder, "llvm.prefetch.p0", ir.VoidType(), [pointer.type, _I32, _I32, _I32]), [pointer, *numbers])


def opaque(builder, value):
    """The same int64, though LLVM does not know it: what is computed from it is not merged with anything else."""
    return builder.asm(ir.FunctionType(value.type, [value.type]), "", "=r,0", [value], False)


prefetch_l1 = operation(None, (types.int64,), prefetch)
prefetch_l2 = operation(None, (types.int64,), lambda b, address: prefetch(b, address, locality=2))
prefetch_write = operation(None, (types.int64,), lambda b, address: prefetch(b, address, write=True))


def namespace(name, **members):
    """Names for Numba code to read as `v.name`: it knows modules, and a stamp (nb.py) takes a module by its name."""
    module = ModuleType(name)
    module.__dict__.update(members)
    return module


def _halves(builder, x, combine):
    """All lanes combined, always in the same order: halves with halves."""
    width = x.type.count
    while width > 1:
        width //= 2
        low, high = (ir.Constant(ir.VectorType(_I32, width), list(range(start, start + width))) for start in (0, width))
        undefined = ir.Constant(x.type, ir.Undefined)
        x = combine(builder.shuffle_vector(x, undefined, low), builder.shuffle_vector(x, undefined, high))
    return builder.extract_element(x, ir.Constant(_I32, 0))


def _shuffle(builder, x, y, lanes):
    return builder.shuffle_vector(x, y, ir.Constant(ir.VectorType(_I32, len(lanes)), lanes))


def _exchanged(builder, x, y, step):
    """Rows i and i + step of a square after they have exchanged the lanes in whose number the bit `step` differs from their own."""
    count = x.type.count
    upper = [count + (lane ^ step) if lane & step else lane for lane in range(count)]
    lower = [count + lane if lane & step else lane ^ step for lane in range(count)]
    return _shuffle(builder, x, y, upper), _shuffle(builder, x, y, lower)


def transposed(builder, rows):
    """The columns of a square of registers, by Eklundh's method (transpose.h)."""
    rows, step = list(rows), 1
    while step < len(rows):
        for i in range(len(rows)):
            if not i & step:
                rows[i], rows[i + step] = _exchanged(builder, rows[i], rows[i + step], step)
        step *= 2
    return rows


def add_lanes(builder, rows):
    """Lane i of the result is the sum of the lanes of rows[i]: as `transposed`, but the two rows of a pair are added and one remains."""
    step = 1
    while len(rows) > 1:
        rows = [builder.fadd(*_exchanged(builder, x, y, step)) for x, y in zip(rows[::2], rows[1::2])]
        step *= 2
    return rows[0]


def _square(vector, partial):
    """dst[j * ld_dst + i] = src[i * ld_src + j], leading dimensions in bytes; partial: for i < m, j < n only."""
    count = vector.count
    steps = [ir.Constant(ir.IntType(64), i) for i in range(count)]

    def code(b, src, ld_src, dst, ld_dst, m=None, n=None):
        def line(base, i, lines, ld):
            """Of a line that is not there, the first one: masked, too, but a fault suppressed costs a thousand cycles."""
            there = b.select(b.icmp_signed("<", i, lines), i, ir.Constant(ir.IntType(64), 0)) if partial else i
            return b.add(base, b.mul(there, ld))

        def masks(lines, inside):
            """The first `inside` lanes, of as many lines."""
            if not partial:
                return [None] * count
            none = ir.Constant(ir.IntType(64), 0)
            return [first(b, b.select(b.icmp_signed("<", i, lines), inside, none), count) for i in steps]

        rows = [load(b, line(src, i, m, ld_src), vector, mask) for i, mask in zip(steps, masks(m, n))]
        for i, mask, column in zip(steps, masks(n, m), transposed(b, rows)):
            store(b, column, line(dst, i, n, ld_dst), mask)

    return operation(None, (types.int64,) * (6 if partial else 4), code)


def _permute(b, x, y, idx):
    """Lane i of the result is lane idx[i] of x followed by y."""
    kind, count, letter = x.type, x.type.count, suffix(x.type)
    if VECTOR_BYTES == 64:
        name = f"llvm.x86.avx512.vpermi2var.p{'s' if letter == 'v16f32' else 'd'}.512"
        return b.call(declare(b, name, kind, [kind, idx.type, kind]), [x, idx, y])
    if letter == "v8f32":
        function = declare(b, "llvm.x86.avx2.permps", kind, [kind, idx.type])
        behind = b.icmp_signed(">=", idx, ir.Constant(idx.type, [count] * count))
        return b.select(behind, b.call(function, [y, idx]), b.call(function, [x, idx]))
    both, out = _shuffle(b, x, y, list(range(2 * count))), ir.Constant(kind, ir.Undefined)
    for lane in map(partial(ir.Constant, _I32), range(count)):
        out = b.insert_element(out, b.extract_element(both, b.extract_element(idx, lane)), lane)
    return out


@cache
def simd(dtype, registers=1):
    """The operations on `registers` registers of float32 or float64.

    Whole numbers stand in lanes of the same width: v.set_integer(i), and v.integers_1, v.integers_4 with load_n and store_n, after the bytes of an
    element in memory.

    Of one register: v.permute(x, y, idx), of whole numbers v.permute_integers: lane i is lane idx[i] of x followed by y.
    v.square(src, ld_src, dst, ld_dst) transposes as many rows as it has lanes, v.square_n(..., m, n) the first n elements of m rows; leading
    dimensions count bytes.
    """
    number = types.float32 if dtype == np.float32 else types.float64
    whole = types.int32 if dtype == np.float32 else types.int64
    count = registers * lanes(dtype)
    kind, mask, integers, at, n = Vector(number, count), Vector(types.boolean, count), Vector(whole, count), types.int64, types.int64
    vector = ir.VectorType(_element(number), count)
    numbers = ir.VectorType(_element(whole), count)
    zero = ir.Constant(vector, [0.0] * count)

    def load_whole(b, address, n, size):
        memory = ir.VectorType(ir.IntType(8 * size), count)
        value = load(b, address, memory, first(b, n, count))
        return value if memory == numbers else b.zext(value, numbers) if size == 1 else b.sext(value, numbers)

    def store_whole(b, address, n, value, size):
        memory = ir.VectorType(ir.IntType(8 * size), count)
        store(b, value if memory == numbers else b.trunc(value, memory), address, first(b, n, count))

    def integers_of(size):
        return namespace(
            f"integers_{size}_{kind}",
            load_n=operation(integers, (at, n), lambda b, address, n: load_whole(b, address, n, size)),
            store_n=operation(None, (at, n, integers), lambda b, address, n, value: store_whole(b, address, n, value, size)),
        )

    def permute_whole(b, x, y, idx):
        return b.bitcast(_permute(b, b.bitcast(x, vector), b.bitcast(y, vector), idx), numbers)

    def sqrt(b, x):
        return b.call(declare(b, f"llvm.sqrt.{suffix(vector)}", vector, [vector]), [x])

    return namespace(
        f"simd_{kind}",
        lanes=count,
        type=kind,
        load=operation(kind, (at,), lambda b, address: load(b, address, vector)),
        store=operation(None, (at, kind), lambda b, address, x: store(b, x, address)),
        load_n=operation(kind, (at, n), lambda b, address, n: load(b, address, vector, first(b, n, count))),
        store_n=operation(None, (at, n, kind), lambda b, address, n, x: store(b, x, address, first(b, n, count))),
        set=operation(kind, (number,), lambda b, x: splat(b, x, count)),
        zero=operation(kind, (), lambda b: zero),
        fma=operation(kind, (kind,) * 3, fma),
        sqrt=operation(kind, (kind,), sqrt),
        head=operation(mask, (n,), lambda b, n: first(b, n, count)),
        any=operation(types.boolean, (mask,), lambda b, m: b.icmp_unsigned("!=", b.bitcast(m, ir.IntType(count)), ir.IntType(count)(0))),
        permute=operation(kind, (kind, kind, integers), _permute),
        permute_integers=operation(integers, (integers,) * 3, permute_whole),
        sum=operation(number, (kind,), lambda b, x: _halves(b, x, b.fadd)),
        largest=operation(number, (kind,), lambda b, x: _halves(b, x, lambda p, q: b.select(b.fcmp_ordered(">", p, q), p, q))),
        set_integer=operation(integers, (whole,), lambda b, x: splat(b, x, count)),
        square=_square(vector, False),
        square_n=_square(vector, True),
        integers_1=integers_of(1),
        integers_4=integers_of(4),
    )
