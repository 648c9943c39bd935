"""The radial functions of HIP-NN-TS along the functions of one pair, in whole vector registers, for numba.

With x = 1/r and d = x − c_ν:  s_ν = exp(−w_ν d²) φ(r),  φ = cos²(π r / 2 r_c). A loop over 20 functions is too short
for a compiler to find vector instructions that pay, so they are written out. Functions are padded to whole vectors;
what stands beyond the last one is finite, and nobody reads it.
"""
# mypy: disallow-untyped-defs=False, disallow-untyped-calls=False, ignore-errors
# numba infers types itself; annotations would only be checked at calls that Python never makes

import math

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from beadsmith.kernels.products import LANES, Vectors, data_of
from beadsmith.kernels.rows import compiled

# terms of the series, bits of the fraction, bias of the exponent, smallest argument, bits. The series ends where its
# remainder is below one rounding; products with the smallest value must stay normal, which denormal numbers slow down
_SINGLE = (7, 23, 127, -60.0, 32)
_DOUBLE = (13, 52, 1023, -600.0, 64)


def exponential(context, vectors, x):
    """Emit exp(x) for x ≤ 0: 2^k exp(f), |f| ≤ ln(2)/2; a number that is none stays none."""
    builder, number = vectors.builder, vectors.number
    n_terms, fraction_bits, bias, smallest, bits = _SINGLE if vectors.width == 4 else _DOUBLE
    x = builder.select(builder.fcmp_ordered("<", x, number(smallest)), number(smallest), x)
    name = f"llvm.floor.v{LANES}f{bits}"
    floor = cgutils.get_or_insert_function(builder.module, ir.FunctionType(vectors.type, [vectors.type]), name)
    k = builder.call(floor, [vectors.add_product(number(0.5), x, number(1.4426950408889634))])
    f = vectors.add_product(x, k, number(-0.6931471805599453))
    series = number(1.0 / math.factorial(n_terms))
    for n in range(n_terms - 1, -1, -1):
        series = vectors.add_product(number(1.0 / math.factorial(n)), series, f)
    integers = ir.VectorType(ir.IntType(bits), LANES)
    exponent = builder.add(builder.fptosi(k, integers), ir.Constant(integers, [bias] * LANES))
    power = builder.bitcast(builder.shl(exponent, ir.Constant(integers, [fraction_bits] * LANES)), vectors.type)
    return vectors.multiply(series, power)


@intrinsic
def fill_functions_(_, values, slopes, at, inverse, switch, switch_slope, centres, weights, width):
    """Fill the values and slopes ds/dr of all functions of one pair.

    Parameters
    ----------
    values, slopes, at : Arrays that are filled from element `at` on.
    inverse, switch, switch_slope : 1/r, φ and dφ/dr of the pair.
    centres, weights : c_ν and w_ν.
    width : Their number, a multiple of `LANES`.
    """
    index = types.int64
    signature = types.void(values, slopes, index, inverse, switch, switch_slope, centres, weights, index)

    def generate(context, builder, signature, arguments):
        at, width = arguments[2], arguments[8]
        values, slopes, centres, weights = (data_of(context, builder, signature, arguments, k) for k in (0, 1, 6, 7))
        vectors = Vectors(context, builder, signature.args[0].dtype)
        x, phi, phi_slope = (vectors.fill(arguments[k]) for k in (3, 4, 5))
        squares = vectors.multiply(vectors.multiply(x, x), vectors.multiply(phi, vectors.number(2.0)))
        with cgutils.for_range(builder, builder.udiv(width, vectors.index(LANES))) as loop:
            k = builder.mul(loop.index, vectors.index(LANES))
            offset = vectors.subtract(x, vectors.load(centres, k))
            steep = vectors.multiply(vectors.load(weights, k), offset)
            minus = vectors.multiply(vectors.multiply(steep, offset), vectors.number(-1.0))
            gaussian = exponential(context, vectors, minus)
            target = builder.add(at, k)
            vectors.store(vectors.multiply(gaussian, phi), values, target)
            slope = vectors.multiply(gaussian, vectors.add_product(phi_slope, steep, squares))
            vectors.store(slope, slopes, target)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def add_parameters_(_, totals, at, values, slopes, overlap, other, here, inverse, rate, centres, width):
    """Add what one pair contributes to the derivatives by the parameters of its radial functions.

    For Φ = Σ_ν (ρ O_ν ds_ν/dr + W_ν s_ν): adds dΦ/dc_ν / 2 w_ν, dΦ/dw_ν and Φ itself, ν by ν.

    Parameters
    ----------
    totals, at : Array and the element where its three rows of numbers start.
    values, slopes, overlap, other, here : s, ds/dr, O and W, all from element `here` on.
    inverse, rate : 1/r and ρ.
    centres, width : c_ν and their number, a multiple of `LANES`.
    """
    index = types.int64
    signature = types.void(totals, index, values, slopes, overlap, other, index, inverse, rate, centres, index)

    def generate(context, builder, signature, arguments):
        at, here, width = arguments[1], arguments[6], arguments[10]
        totals, values, slopes, overlap, other, centres = (
            data_of(context, builder, signature, arguments, k) for k in (0, 2, 3, 4, 5, 9)
        )
        vectors = Vectors(context, builder, signature.args[0].dtype)
        x, rate = vectors.fill(arguments[7]), vectors.fill(arguments[8])
        squares = vectors.multiply(vectors.multiply(x, x), rate)
        with cgutils.for_range(builder, builder.udiv(width, vectors.index(LANES))) as loop:
            k = builder.mul(loop.index, vectors.index(LANES))
            p = builder.add(here, k)
            offset = vectors.subtract(x, vectors.load(centres, k))
            value, on_slope = vectors.load(values, p), vectors.load(overlap, p)
            change = vectors.multiply(vectors.load(other, p), value)
            change = vectors.add_product(change, vectors.multiply(on_slope, rate), vectors.load(slopes, p))
            shift = vectors.multiply(vectors.multiply(on_slope, squares), value)
            bent = vectors.multiply(offset, change)
            on_weight = vectors.multiply(offset, vectors.subtract(vectors.multiply(shift, vectors.number(2.0)), bent))
            for row, more in enumerate((vectors.subtract(bent, shift), on_weight, change)):
                target = builder.add(builder.add(at, builder.mul(width, vectors.index(row))), k)
                vectors.store(vectors.add(vectors.load(totals, target), more), totals, target)
        return context.get_dummy_value()

    return signature, generate


@compiled
def evaluate_(functions, order, start, n, radial, values, slopes):
    """Fill values and slopes of all radial functions of some pairs, without their amplitudes."""
    centres, weights = functions[0], functions[1]
    for q in range(n):
        fill_functions_(
            values,
            slopes,
            q * centres.shape[0],
            radial[0, q],
            radial[1, q],
            radial[2, q],
            centres,
            weights,
            centres.shape[0],
        )


@compiled
def scale_(functions, order, start, n, values):
    """Multiply values or slopes by the amplitudes of each pair's class; without classes all amplitudes are one."""
    amplitudes, classes = functions[2], functions[3]
    if amplitudes.shape[0] > 1:
        for q in range(n):
            c = classes[order[start + q]]
            for k in range(values.shape[1]):
                values[q, k] *= amplitudes[c, k]


@compiled
def evaluate_at_(functions, order, start, n, radial, place, values, slopes):
    """Fill the row `place` of each pair with values and slopes of its radial functions, amplitudes included."""
    centres, weights, amplitudes, classes = functions[0], functions[1], functions[2], functions[3]
    width = centres.shape[0]
    for q in range(n):
        row = place[q]
        fill_functions_(values, slopes, row * width, radial[0, q], radial[1, q], radial[2, q], centres, weights, width)
        if amplitudes.shape[0] > 1:
            c = classes[order[start + q]]
            for k in range(width):
                values[row, k] *= amplitudes[c, k]
                slopes[row, k] *= amplitudes[c, k]


@compiled
def collect_parameters_(functions, order, start, n, radial, rates, values, slopes, overlap, other, totals):
    """Add to `totals` (classes, 3, functions) what `add_parameters_` says of some pairs, by their classes."""
    centres, classes = functions[0], functions[3]
    width = centres.shape[0]
    partial = np.zeros(totals.shape, values.dtype)
    for q in range(n):
        c = classes[order[start + q]] if totals.shape[0] > 1 else 0
        add_parameters_(
            partial,
            c * 3 * width,
            values,
            slopes,
            overlap,
            other,
            q * width,
            radial[0, q],
            rates[q],
            centres,
            width,
        )
    totals += partial
