"""Vectors of channels for numba: short arrays of fixed length that live in the processor's registers.

numba leaves it to the compiler to find vector instructions in loops, which fails where a sum has to stay in registers
while a loop over neighbours runs. These types say it: a vector holds a fixed number of neighbouring channels, a tile
holds several rows of them. Their length is part of the type, so that every operation is unrolled; processors with
shorter registers use several of them for one vector.

A vector is as long as an AVX-512 register. The number of rows of a tile is given by a tuple with one entry for each,
because numba knows the length of a tuple when it compiles. Indices count elements of a contiguous array.
"""
# mypy: disallow-untyped-defs=False, disallow-untyped-calls=False, disallow-untyped-decorators=False
# numba infers types itself; annotations would only be checked at calls that Python never makes

import math
import operator
from typing import Any

import numpy as np
from llvmlite import ir
from numba import extending, types
from numba.core.datamodel import models
from numba.core.errors import TypingError
from numba.extending import overload, register_model
from numba.np.arrayobj import make_array

from beadsmith.kernels.rows import compiled

# kernels call these functions without the first argument, which the compiler adds
intrinsic: Any = extending.intrinsic

VECTOR_BYTES = 64
"""Length of a vector: 16 channels in float32, 8 in float64."""


class Tile(types.Type):
    """Rows of vectors; a single vector has no rows."""

    def __init__(self, real: Any, lanes: int, n_rows: int) -> None:
        """Name the type, by which numba tells types apart."""
        self.real, self.lanes, self.n_rows = real, lanes, n_rows
        super().__init__(name=f"Tile({real}, {lanes}, {n_rows})")


@register_model(Tile)
class _TileModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Tile) -> None:
        vector = ir.VectorType(manager.lookup(kind.real).get_value_type(), kind.lanes)
        super().__init__(manager, kind, ir.ArrayType(vector, kind.n_rows) if kind.n_rows else vector)


def _check(array):
    if array.layout != "C":
        raise TypingError("vectors are parts of contiguous arrays")


def _make_kind(array, rows=()):
    _check(array)
    return Tile(array.dtype, 8 * VECTOR_BYTES // array.dtype.bitwidth, len(rows))


def _as_index(context, builder, kind, value):
    return context.cast(builder, value, kind, types.intp)


def _address(context, builder, array_type, array, index, like):
    data = make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), like.as_pointer())


def _vector_of(context, kind):
    return ir.VectorType(context.get_value_type(kind.real), kind.lanes)


def _load(context, builder, array_type, array, index, kind):
    found = builder.load(_address(context, builder, array_type, array, index, _vector_of(context, kind)))
    found.align = array_type.dtype.bitwidth // 8
    return found


def _store(context, builder, array_type, array, index, vector):
    builder.store(vector, _address(context, builder, array_type, array, index, vector.type)).align = (
        array_type.dtype.bitwidth // 8
    )


def _broadcast(builder, scalar, vector_type):
    undefined, zero = ir.Constant(vector_type, ir.Undefined), ir.Constant(ir.IntType(32), 0)
    single = builder.insert_element(undefined, scalar, zero)
    return builder.shuffle_vector(
        single, undefined, ir.Constant(ir.VectorType(ir.IntType(32), vector_type.count), None)
    )


def _load_scalar(context, builder, array_type, array, index):
    return builder.load(builder.gep(make_array(array_type)(context, builder, array).data, [index]))


def _fused(builder, left, right, total):
    return builder.fadd(total, builder.fmul(left, right, flags=("contract",)), flags=("contract",))


@intrinsic
def count_lanes(typing_context, array):
    """Return the number of channels in a vector."""
    lanes = _make_kind(array).lanes

    def build(context, builder, signature, arguments):
        return context.get_constant(types.intp, lanes)

    return types.intp(array), build


@intrinsic
def get(typing_context, array, index):
    """Return one element; unlike `array[index]` it does not look for indices that count from the end."""
    _check(array)

    def build(context, builder, signature, arguments):
        start = _as_index(context, builder, signature.args[1], arguments[1])
        return _load_scalar(context, builder, signature.args[0], arguments[0], start)

    return array.dtype(array, index), build


@intrinsic
def load(typing_context, array, index):
    """Return the vector that starts at an index."""
    kind = _make_kind(array)

    def build(context, builder, signature, arguments):
        start = _as_index(context, builder, signature.args[1], arguments[1])
        return _load(context, builder, signature.args[0], arguments[0], start, kind)

    return kind(array, index), build


@intrinsic
def store(typing_context, array, index, vector):
    """Write a vector to where an index points."""
    _check(array)

    def build(context, builder, signature, arguments):
        start = _as_index(context, builder, signature.args[1], arguments[1])
        _store(context, builder, signature.args[0], arguments[0], start, arguments[2])
        return context.get_dummy_value()

    return types.void(array, index, vector), build


@intrinsic
def zero_vector(typing_context, array):
    """Return a vector of zeros of an array's precision."""
    kind = _make_kind(array)

    def build(context, builder, signature, arguments):
        return ir.Constant(context.get_value_type(kind), None)

    return kind(array), build


@intrinsic
def zero_tile(typing_context, array, rows):
    """Return a tile of zeros of an array's precision."""
    kind = _make_kind(array, rows)

    def build(context, builder, signature, arguments):
        return ir.Constant(context.get_value_type(kind), None)

    return kind(array, rows), build


@intrinsic
def load_tile(typing_context, array, index, stride, rows):
    """Return the tile whose rows start at `index` and are `stride` elements apart."""
    kind = _make_kind(array, rows)

    def build(context, builder, signature, arguments):
        at = _as_index(context, builder, signature.args[1], arguments[1])
        step = _as_index(context, builder, signature.args[2], arguments[2])
        tile = ir.Constant(context.get_value_type(kind), ir.Undefined)
        for row in range(kind.n_rows):
            found = _load(context, builder, signature.args[0], arguments[0], at, kind)
            tile = builder.insert_value(tile, found, row)
            at = builder.add(at, step)
        return tile

    return kind(array, index, stride, rows), build


@intrinsic
def store_tile(typing_context, array, index, stride, tile):
    """Write the rows of a tile to where `index` points, `stride` elements apart."""
    _check(array)

    def build(context, builder, signature, arguments):
        at = _as_index(context, builder, signature.args[1], arguments[1])
        step = _as_index(context, builder, signature.args[2], arguments[2])
        for row in range(tile.n_rows):
            vector = builder.extract_value(arguments[3], row)
            _store(context, builder, signature.args[0], arguments[0], at, vector)
            at = builder.add(at, step)
        return context.get_dummy_value()

    return types.void(array, index, stride, tile), build


@intrinsic
def add_outer(typing_context, tile, vector, factors, index, stride):
    """Return a tile whose row m has grown by factors[index + m · stride] · vector."""
    _check(factors)

    def build(context, builder, signature, arguments):
        result = arguments[0]
        at = _as_index(context, builder, signature.args[3], arguments[3])
        step = _as_index(context, builder, signature.args[4], arguments[4])
        for row in range(tile.n_rows):
            factor = _load_scalar(context, builder, signature.args[2], arguments[2], at)
            wide = _broadcast(builder, factor, arguments[1].type)
            grown = _fused(builder, wide, arguments[1], builder.extract_value(arguments[0], row))
            result = builder.insert_value(result, grown, row)
            at = builder.add(at, step)
        return result

    return tile(tile, vector, factors, index, stride), build


@intrinsic
def weigh_rows(typing_context, tile, factors, index, stride):
    """Return the vector Σ_m factors[index + m · stride] · tile[m]."""
    _check(factors)
    kind = Tile(tile.real, tile.lanes, 0)

    def build(context, builder, signature, arguments):
        at = _as_index(context, builder, signature.args[2], arguments[2])
        step = _as_index(context, builder, signature.args[3], arguments[3])
        total = None
        for row in range(tile.n_rows):
            vector = builder.extract_value(arguments[0], row)
            factor = _load_scalar(context, builder, signature.args[1], arguments[1], at)
            wide = _broadcast(builder, factor, vector.type)
            total = builder.fmul(wide, vector) if total is None else _fused(builder, wide, vector, total)
            at = builder.add(at, step)
        return total

    return kind(tile, factors, index, stride), build


def _pick(builder, left, right, places):
    mask = ir.Constant(ir.VectorType(ir.IntType(32), len(places)), list(places))
    return builder.shuffle_vector(left, right, mask)


@intrinsic
def add_sums(typing_context, array, index, first, second, third):
    """Add the sums over three vectors to three elements from `index` on; the element after them is changed, too."""
    _check(array)

    def build(context, builder, signature, arguments):
        start = _as_index(context, builder, signature.args[1], arguments[1])
        count = first.lanes
        vectors = [*arguments[2:], ir.Constant(arguments[2].type, None)]
        while count > 4:
            half = count // 2
            vectors = [
                builder.fadd(_pick(builder, v, v, range(half)), _pick(builder, v, v, range(half, count)))
                for v in vectors
            ]
            count = half
        # from four vectors of four to one vector of four sums
        left, right = (
            builder.fadd(_pick(builder, v, w, (0, 1, 4, 5)), _pick(builder, v, w, (2, 3, 6, 7)))
            for v, w in (vectors[:2], vectors[2:])
        )
        sums = builder.fadd(_pick(builder, left, right, (0, 2, 4, 6)), _pick(builder, left, right, (1, 3, 5, 7)))
        before = builder.load(_address(context, builder, signature.args[0], arguments[0], start, sums.type))
        before.align = first.real.bitwidth // 8
        _store(context, builder, signature.args[0], arguments[0], start, builder.fadd(before, sums))
        return context.get_dummy_value()

    return types.void(array, index, first, second, third), build


@intrinsic
def _add(typing_context, left, right):
    def build(context, builder, signature, arguments):
        return builder.fadd(*arguments, flags=("contract",))

    return left(left, right), build


@intrinsic
def _multiply(typing_context, left, right):
    def build(context, builder, signature, arguments):
        return builder.fmul(*arguments, flags=("contract",))

    return left(left, right), build


@intrinsic
def _scale(typing_context, factor, vector):
    def build(context, builder, signature, arguments):
        wide = _broadcast(builder, context.cast(builder, arguments[0], factor, vector.real), arguments[1].type)
        return builder.fmul(wide, arguments[1], flags=("contract",))

    return vector(factor, vector), build


@overload(operator.add)
def _overload_add(left, right):
    if isinstance(left, Tile) and left == right and not left.n_rows:
        return lambda left, right: _add(left, right)
    return None


@overload(operator.mul)
def _overload_multiply(left, right):
    if isinstance(left, Tile) and left == right and not left.n_rows:
        return lambda left, right: _multiply(left, right)
    if isinstance(left, types.Float) and isinstance(right, Tile) and not right.n_rows:
        return lambda left, right: _scale(left, right)
    return None


@compiled
def allocate_vectors(n_elements, dtype):
    """Return memory that starts where a line of the cache starts, so that no vector lies across two of them."""
    memory = np.empty(n_elements + VECTOR_BYTES, dtype)
    skipped = -memory.ctypes.data % VECTOR_BYTES // memory.itemsize
    return memory[skipped : skipped + n_elements]


def make_zeros(shape: tuple[int, ...], real: np.dtype[Any]) -> np.ndarray:
    """Return zeros that start at a line of the cache. Unlike torch, numpy wakes no threads to write them."""
    n_bytes = math.prod(shape) * real.itemsize
    memory = np.zeros(n_bytes + VECTOR_BYTES, np.uint8)
    skipped = -memory.ctypes.data % VECTOR_BYTES
    return memory[skipped : skipped + n_bytes].view(real).reshape(shape)
