"""Sixteen windows side by side, for Numba tasks: int32, float32 and float64 in as many lanes, and sets of lanes as the bits of an int64."""

from lamella.kernels._common.nb_simd import Vector, load, operation, store
from llvmlite import ir
from numba import types

LANES = 16
INTEGERS, FLOATS, DOUBLES, MASK = (Vector(number, LANES) for number in (types.int32, types.float32, types.float64, types.boolean))
_I16, _I64 = ir.IntType(16), ir.IntType(64)
_integers, _floats, _doubles, _mask = (ir.VectorType(t, LANES) for t in (ir.IntType(32), ir.FloatType(), ir.DoubleType(), ir.IntType(1)))
_at = types.int64

load_i32 = operation(INTEGERS, (_at,), lambda b, address: load(b, address, _integers))
load_f32 = operation(FLOATS, (_at,), lambda b, address: load(b, address, _floats))
load_f64 = operation(DOUBLES, (_at,), lambda b, address: load(b, address, _doubles))
store_i32 = operation(None, (_at, INTEGERS), lambda b, address, x: store(b, x, address))
store_f64 = operation(None, (_at, DOUBLES), lambda b, address, x: store(b, x, address))
floats = operation(FLOATS, (INTEGERS,), lambda b, x: b.sitofp(x, _floats))
doubles = operation(DOUBLES, (FLOATS,), lambda b, x: b.fpext(x, _doubles))
no_integers = operation(INTEGERS, (), lambda b: ir.Constant(_integers, [0] * LANES))
no_floats = operation(FLOATS, (), lambda b: ir.Constant(_floats, [0.0] * LANES))
no_doubles = operation(DOUBLES, (), lambda b: ir.Constant(_doubles, [0.0] * LANES))
bits = operation(types.int64, (MASK,), lambda b, mask: b.zext(b.bitcast(mask, _I16), _I64))
mask = operation(MASK, (types.int64,), lambda b, bits: b.bitcast(b.trunc(bits, _I16), _mask))
count = operation(types.int64, (types.int64,), lambda b, bits: b.ctpop(bits))
