"""Small matrix products for numba: tiles of the result stay in vector registers while the inner index runs.

BLAS is made for large matrices; the products of a sweep (some 60 neighbours, 20 radial functions, 20 to 128 features)
are too small for it and too many. Here the left matrix is read one number at a time, so that its rows and columns may
lie anywhere, and the right one and the result by whole vectors of `LANES` numbers, to which their rows are padded.
"""
# mypy: disallow-untyped-defs=False, disallow-untyped-calls=False, ignore-errors
# numba infers types itself; annotations would only be checked at calls that Python never makes

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from beadsmith.kernels.rows import compiled

LANES = 8
"""Numbers in a vector: AVX2 in float32. Rows are padded to it, and wider vectors would be filled with padding."""

HAS_WIDE_REGISTERS = bool(binding.get_host_cpu_features().get("avx512vl", False))
"""Whether vectors of twice the length in float32 fit a register. They serve results of four vectors or more."""

WIDEST = 4 if HAS_WIDE_REGISTERS else 3
"""Vectors in a row of a tile: with its four rows, the line of the right matrix and one factor they fill 16 registers,
or two thirds of the 32 that processors with AVX-512 have. One more, and totals would move between registers and memory.
"""

_FLAGS = ("contract", "reassoc", "nsz", "arcp")
_INDEX = ir.IntType(64)


def pad(n: int) -> int:
    """Return the smallest multiple of a vector's length that is not below n."""
    return -(-n // LANES) * LANES


class Vectors:
    """Emit operations on whole vectors."""

    def __init__(self, context, builder, element, lanes=LANES):
        """Take the element type of an array, and the numbers in a vector."""
        self.builder, self.width = builder, context.get_abi_sizeof(context.get_data_type(element))
        self.lanes, self.type = lanes, ir.VectorType(context.get_data_type(element), lanes)
        self.index = ir.IntType(64)

    def _address(self, pointer, index):
        return self.builder.bitcast(self.builder.gep(pointer, [index]), self.type.as_pointer())

    def load(self, pointer, index):
        """Load the vector that starts at an element."""
        value = self.builder.load(self._address(pointer, index))
        # arrays are aligned to their elements only
        value.align = self.width
        return value

    def store(self, value, pointer, index):
        """Store a vector so that it starts at an element."""
        self.builder.store(value, self._address(pointer, index)).align = self.width

    def fill(self, scalar):
        """Return a vector of one number."""
        nothing = ir.Constant(self.type, ir.Undefined)
        first = self.builder.insert_element(nothing, scalar, ir.IntType(32)(0))
        return self.builder.shuffle_vector(
            first, nothing, ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), [0] * self.lanes)
        )

    def number(self, value):
        """Return a vector of one constant."""
        return ir.Constant(self.type, [value] * self.lanes)

    def add(self, left, right):
        """Return the sum."""
        return self.builder.fadd(left, right, flags=_FLAGS)

    def subtract(self, left, right):
        """Return the difference."""
        return self.builder.fsub(left, right, flags=_FLAGS)

    def multiply(self, left, right):
        """Return the product."""
        return self.builder.fmul(left, right, flags=_FLAGS)

    def add_product(self, total, left, right):
        """Return total + left · right."""
        return self.add(total, self.multiply(left, right))


def data_of(context, builder, signature, arguments, k):
    """Return the pointer to the numbers of the array that is argument k."""
    return context.make_array(signature.args[k])(context, builder, arguments[k]).data


def add_up(builder, vectors, value):
    """Return the sum of the numbers of a vector."""
    element = vectors.type.element
    name = f"llvm.vector.reduce.fadd.v{LANES}f{8 * vectors.width}"
    add = cgutils.get_or_insert_function(builder.module, ir.FunctionType(element, [element, vectors.type]), name)
    return builder.call(add, [ir.Constant(element, 0.0), value], fastmath=_FLAGS)


def _product_tile(n_rows, n_vectors, lanes=LANES):
    """Return an intrinsic for n_rows × (n_vectors · lanes) numbers of a product."""

    @intrinsic
    def tile(_, result, at, stride, left, left_at, left_row, left_column, right, right_at, right_row, depth, is_fresh):
        index = types.int64
        signature = types.void(
            result, index, index, left, index, index, index, right, index, index, index, types.boolean
        )

        def generate(context, builder, signature, arguments):
            _, at, stride, _, left_at, left_row, left_column, _, right_at, right_row, depth, is_fresh = arguments
            vectors = Vectors(context, builder, signature.args[0].dtype, lanes)
            result, left, right = (data_of(context, builder, signature, arguments, k) for k in (0, 3, 7))

            def places(start, step, n):
                return [builder.add(start, builder.mul(step, _INDEX(k))) for k in range(n)]

            columns = [_INDEX(lanes * c) for c in range(n_vectors)]
            targets = [[builder.add(row, column) for column in columns] for row in places(at, stride, n_rows)]
            zero = ir.Constant(vectors.type, None)
            totals = [[cgutils.alloca_once_value(builder, zero) for _ in columns] for _ in targets]
            with builder.if_then(builder.not_(is_fresh)):
                for line, total in zip(targets, totals, strict=True):
                    for target, memory in zip(line, total, strict=True):
                        builder.store(vectors.load(result, target), memory)
            lefts = places(left_at, left_row, n_rows)
            with cgutils.for_range(builder, depth) as loop:
                start = builder.add(right_at, builder.mul(right_row, loop.index))
                line = [vectors.load(right, builder.add(start, column)) for column in columns]
                along = builder.mul(left_column, loop.index)
                for row, total in zip(lefts, totals, strict=True):
                    factor = vectors.fill(builder.load(builder.gep(left, [builder.add(row, along)])))
                    for value, memory in zip(line, total, strict=True):
                        builder.store(vectors.add_product(builder.load(memory), factor, value), memory)
            for line, total in zip(targets, totals, strict=True):
                for target, memory in zip(line, total, strict=True):
                    vectors.store(builder.load(memory), result, target)
            return context.get_dummy_value()

        return signature, generate

    return tile


def _dot_tile(n_rows):
    """Return an intrinsic for the dot products of n_rows vectors with one vector."""

    @intrinsic
    def tile(_, result, at, stride, left, left_at, left_row, right, right_at, width):
        index = types.int64
        signature = types.void(result, index, index, left, index, index, right, index, index)

        def generate(context, builder, signature, arguments):
            _, at, stride, _, left_at, left_row, _, right_at, width = arguments
            vectors = Vectors(context, builder, signature.args[0].dtype)
            result, left, right = (data_of(context, builder, signature, arguments, k) for k in (0, 3, 6))
            zero = ir.Constant(vectors.type, None)
            totals = [cgutils.alloca_once_value(builder, zero) for _ in range(n_rows)]
            with cgutils.for_range(builder, builder.udiv(width, _INDEX(LANES))) as loop:
                along = builder.mul(loop.index, _INDEX(LANES))
                value = vectors.load(right, builder.add(right_at, along))
                for r, memory in enumerate(totals):
                    start = builder.add(builder.add(left_at, builder.mul(left_row, _INDEX(r))), along)
                    builder.store(vectors.add_product(builder.load(memory), vectors.load(left, start), value), memory)
            for r, memory in enumerate(totals):
                total = add_up(builder, vectors, builder.load(memory))
                builder.store(total, builder.gep(result, [builder.add(at, builder.mul(stride, _INDEX(r)))]))
            return context.get_dummy_value()

        return signature, generate

    return tile


_four_by_four, _four_by_three, _four_by_two, _four_by_one = (_product_tile(4, n) for n in (4, 3, 2, 1))
_one_by_four, _one_by_three, _one_by_two, _one_by_one = (_product_tile(1, n) for n in (4, 3, 2, 1))
_four_by_four_wide, _four_by_three_wide, _four_by_two_wide = (_product_tile(4, n, 2 * LANES) for n in (4, 3, 2))
_one_by_four_wide, _one_by_three_wide, _one_by_two_wide = (_product_tile(1, n, 2 * LANES) for n in (4, 3, 2))
_four_dots, _one_dot = _dot_tile(4), _dot_tile(1)


@compiled
def _fill_strip_(result, left, right, shape, is_fresh):
    """Fill some columns of a product; `shape` has rows, inner size, first column and vectors in a row."""
    c, at, stride = result
    a, left_at, left_row, left_column = left
    b, right_at, right_row = right
    n_rows, depth, column, n_vectors = shape
    here, there = at + column, right_at + column
    row = 0
    while row < n_rows:
        p, q = here + row * stride, left_at + row * left_row
        if row + 4 <= n_rows:
            if n_vectors == 4:
                _four_by_four(c, p, stride, a, q, left_row, left_column, b, there, right_row, depth, is_fresh)
            elif n_vectors == 3:
                _four_by_three(c, p, stride, a, q, left_row, left_column, b, there, right_row, depth, is_fresh)
            elif n_vectors == 2:
                _four_by_two(c, p, stride, a, q, left_row, left_column, b, there, right_row, depth, is_fresh)
            else:
                _four_by_one(c, p, stride, a, q, left_row, left_column, b, there, right_row, depth, is_fresh)
            row += 4
        else:
            if n_vectors == 4:
                _one_by_four(c, p, stride, a, q, left_row, left_column, b, there, right_row, depth, is_fresh)
            elif n_vectors == 3:
                _one_by_three(c, p, stride, a, q, left_row, left_column, b, there, right_row, depth, is_fresh)
            elif n_vectors == 2:
                _one_by_two(c, p, stride, a, q, left_row, left_column, b, there, right_row, depth, is_fresh)
            else:
                _one_by_one(c, p, stride, a, q, left_row, left_column, b, there, right_row, depth, is_fresh)
            row += 1


@compiled
def _fill_strip_wide_(result, left, right, shape, is_fresh):
    """Do the same with vectors of 2 · LANES numbers."""
    c, at, stride = result
    a, left_at, left_row, left_column = left
    b, right_at, right_row = right
    n_rows, depth, column, n_vectors = shape
    here, there = at + column, right_at + column
    row = 0
    while row < n_rows:
        p, q = here + row * stride, left_at + row * left_row
        if row + 4 <= n_rows:
            if n_vectors == 4:
                _four_by_four_wide(c, p, stride, a, q, left_row, left_column, b, there, right_row, depth, is_fresh)
            elif n_vectors == 3:
                _four_by_three_wide(c, p, stride, a, q, left_row, left_column, b, there, right_row, depth, is_fresh)
            else:
                _four_by_two_wide(c, p, stride, a, q, left_row, left_column, b, there, right_row, depth, is_fresh)
            row += 4
        else:
            if n_vectors == 4:
                _one_by_four_wide(c, p, stride, a, q, left_row, left_column, b, there, right_row, depth, is_fresh)
            elif n_vectors == 3:
                _one_by_three_wide(c, p, stride, a, q, left_row, left_column, b, there, right_row, depth, is_fresh)
            else:
                _one_by_two_wide(c, p, stride, a, q, left_row, left_column, b, there, right_row, depth, is_fresh)
            row += 1


@compiled
def multiply_(result, left, right, shape, is_fresh):
    """Add the product of two matrices to a third, or put it there if `is_fresh`.

    Parameters
    ----------
    result : Array, number of its element where the matrix starts, elements from one row to the next.
    left : Array, first element, elements from one row to the next, elements from one column to the next.
    right : Array, first element, elements from one row to the next.
    shape : Rows of the result, inner size, columns of the result (a multiple of `LANES`).
    """
    n_rows, depth, width = shape
    column = 0
    if HAS_WIDE_REGISTERS and result[0].itemsize == 4:
        while width - column >= 4 * LANES:
            rest = (width - column) // (2 * LANES)
            n_vectors = 3 if rest == 5 else min(rest, 4)
            _fill_strip_wide_(result, left, right, (n_rows, depth, column, n_vectors), is_fresh)
            column += 2 * n_vectors * LANES
    while column < width:
        rest = (width - column) // LANES
        # two middling tiles instead of the widest and a single vector
        n_vectors = WIDEST - 1 if rest == WIDEST + 1 else min(rest, WIDEST)
        _fill_strip_(result, left, right, (n_rows, depth, column, n_vectors), is_fresh)
        column += n_vectors * LANES


@compiled
def take_dots_(result, left, right, shape):
    """Put the dot products of several vectors with one vector into an array.

    Parameters
    ----------
    result : Array, first element, elements from one result to the next.
    left : Array, first element, elements from one vector to the next.
    right : Array, first element.
    shape : Number of vectors, their length (a multiple of `LANES`).
    """
    c, at, stride = result
    a, left_at, left_row = left
    b, right_at = right
    n_rows, width = shape
    row = 0
    while row < n_rows:
        if row + 4 <= n_rows:
            _four_dots(c, at + row * stride, stride, a, left_at + row * left_row, left_row, b, right_at, width)
            row += 4
        else:
            _one_dot(c, at + row * stride, stride, a, left_at + row * left_row, left_row, b, right_at, width)
            row += 1


_ROWS = 64
"""Rows of the left matrix that are multiplied together: they stay in the second cache while the right one passes."""


@compiled
def multiply_rows_(result, left, right, start, stop):
    """Fill the rows from `start` to `stop` of the product of two whole matrices, all without gaps."""
    depth, width = right.shape
    for row in range(start, stop, _ROWS):
        multiply_(
            (result, row * width, width),
            (left, row * depth, depth, 1),
            (right, 0, width),
            (min(_ROWS, stop - row), depth, width),
            True,
        )
