"""The layers of HIP-NN-TS that act on each site alone, and their adjoint, without a graph, compiled by numba.

The readable twin is `beadsmith.networks.layers.Block`. All features are padded to whole vectors.
"""
# mypy: disallow-untyped-defs=False, disallow-untyped-calls=False, ignore-errors
# numba infers types itself; annotations would only be checked at calls that Python never makes

import numpy as np
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from beadsmith.kernels.gaussians import exponential
from beadsmith.kernels.products import LANES, Vectors, data_of, multiply_
from beadsmith.kernels.rows import compiled


@compiled
def allocate_layers(n_sites, n_features, shape, dtype):
    """Return memory for `apply_layers_`; `shape` is the number of activations and the highest tensor rank."""
    return (
        np.empty((shape[0], n_sites, n_features), dtype),
        np.empty((shape[1], n_sites, n_features), dtype),
    )


@compiled
def _multiply_(result, left, at, matrices, which, n, is_fresh):
    """Add the products of n rows from row `at` on with one of several square matrices, or put them there."""
    depth, width = matrices.shape[1:]
    multiply_(
        (result, at * width, width),
        (left, at * width, width, 1),
        (matrices, which * depth * width, width),
        (n, depth, width),
        is_fresh,
    )


INPUTS, ACTIVATIONS, SLOPES, ON_OUTPUTS, ON_INNER = range(5)
"""What a record holds of each site and layer: the features after the layer, the activation and its slope; on the way
back, the derivatives by the features after the layer and by what is activated."""


@compiled
def no_record(dtype):
    """Return a record that nothing is written to."""
    return np.empty((5, 0, 0, 0), dtype)


@compiled
def _write_(record, what, layer, first, rows, at, n):
    """Write n rows from row `at` on to a record, if there is one."""
    if record.shape[2] > 0:
        for i in range(n):
            for a in range(rows.shape[1]):
                record[what, layer, first + i, a] = rows[at + i, a]


@compiled
def apply_layers_(at, n, tensors, inner, features, layers, memory, record, first):
    """Apply a block to n sites from site `at` on.

    Parameters
    ----------
    tensors : E, (sites, components, features).
    inner : Self-interaction of each site (sites, features); is overwritten.
    features : What bypasses the interaction; replaced by the features after the block.
    layers : t (l_max, features), ε, square matrices (R, then W and R of each atom layer) as out × in, the same
        transposed, biases. Only the columns of the matrices are padded.
    memory : Slopes of the activations and factors of the norms, kept for the way back.
    record, first : What training wants of the sites (5, layers, sites, features), and the site to start with there.
    """
    scales, cusp, _, transposed, biases = layers
    slopes, factors = memory
    n_features = features.shape[1]
    for i in range(at, at + n):
        for a in range(n_features):
            inner[i, a] += tensors[i, 0, a]
    _add_norms_(inner, at, n, tensors, scales, cusp, factors)
    for layer in range(slopes.shape[0]):
        if layer > 0:
            for i in range(at, at + n):
                for a in range(n_features):
                    inner[i, a] = biases[2 * layer - 1, a]
            _multiply_(inner, features, at, transposed, 2 * layer - 1, n, False)
        row = layer * slopes.shape[1] + at
        softplus_(inner, slopes, at * n_features, row * n_features, n * n_features)
        _write_(record, ACTIVATIONS, layer, first, inner, at, n)
        _write_(record, SLOPES, layer, first, slopes[layer], at, n)
        for i in range(at, at + n):
            for a in range(n_features):
                features[i, a] += biases[2 * layer, a]
        _multiply_(features, inner, at, transposed, 2 * layer, n, False)
        _write_(record, INPUTS, layer, first, features, at, n)


@compiled
def differentiate_layers_(at, n, tensors, inner, features, layers, memory, record, first):
    """Replace E and what entered a block by the derivatives with respect to them.

    `features` holds the derivative by the features after the block; the other arguments are those of `apply_layers_`.
    """
    _, _, matrices, _, _ = layers
    slopes, factors = memory
    for layer in range(slopes.shape[0] - 1, -1, -1):
        _write_(record, ON_OUTPUTS, layer, first, features, at, n)
        _multiply_(inner, features, at, matrices, 2 * layer, n, True)
        for i in range(at, at + n):
            for a in range(inner.shape[1]):
                inner[i, a] *= slopes[layer, i, a]
        _write_(record, ON_INNER, layer, first, inner, at, n)
        if layer > 0:
            _multiply_(features, inner, at, matrices, 2 * layer - 1, n, False)
    _differentiate_norms_(tensors, at, n, inner, factors)


BLOCK = 16
"""Sites that go through the layers together."""


@compiled
def apply_all_layers_(tensors, inner, features, layers, memory, start, stop):
    """Apply a block to the sites from `start` to `stop`."""
    record = no_record(features.dtype)
    for at in range(start, stop, BLOCK):
        apply_layers_(at, min(BLOCK, stop - at), tensors, inner, features, layers, memory, record, 0)


@compiled
def differentiate_all_layers_(tensors, inner, features, layers, memory, start, stop):
    """Go back through a block for the sites from `start` to `stop`."""
    record = no_record(features.dtype)
    for at in range(start, stop, BLOCK):
        differentiate_layers_(at, min(BLOCK, stop - at), tensors, inner, features, layers, memory, record, 0)


@intrinsic
def _fill_softplus_(_, values, slopes, at, slopes_at, width):
    """Replace `width` values by softplus = log(1 + exp) and fill its slopes, whole vectors at a time."""
    index = types.int64
    signature = types.void(values, slopes, index, index, index)

    def generate(context, builder, signature, arguments):
        _, _, at, slopes_at, width = arguments
        values, slopes = (data_of(context, builder, signature, arguments, k) for k in (0, 1))
        vectors = Vectors(context, builder, signature.args[0].dtype)
        number, multiply = vectors.number, vectors.multiply
        zero, one = number(0.0), number(1.0)
        # log(1 + y) = 2 atanh(t), t = y / (2 + y) <= 1/3: the first term left out is below one rounding
        last = 15 if vectors.width == 4 else 33
        with cgutils.for_range(builder, builder.udiv(width, vectors.index(LANES))) as loop:
            along = builder.mul(loop.index, vectors.index(LANES))
            here = builder.add(at, along)
            x = vectors.load(values, here)
            is_positive = builder.fcmp_ordered(">=", x, zero)
            minus = multiply(x, number(-1.0))
            y = exponential(context, vectors, builder.select(is_positive, minus, x))
            after_one, after_two = vectors.add(one, y), vectors.add(number(2.0), y)
            # one division for both quotients
            inverse = builder.fdiv(one, multiply(after_one, after_two))
            slope = multiply(builder.select(is_positive, one, y), multiply(after_two, inverse))
            vectors.store(slope, slopes, builder.add(slopes_at, along))
            t = multiply(y, multiply(after_one, inverse))
            square, series = multiply(t, t), number(1.0 / last)
            for n in range(last - 2, 0, -2):
                series = vectors.add_product(number(1.0 / n), series, square)
            start = builder.select(is_positive, x, zero)
            vectors.store(vectors.add_product(start, multiply(number(2.0), t), series), values, here)
        return context.get_dummy_value()

    return signature, generate


@compiled
def softplus_(values, slopes, at, slopes_at, width):
    """Replace `width` values from `at` on by softplus and fill its slopes from `slopes_at` on; exact to rounding.

    Negative numbers far below the rounding of one give no denormal numbers. `width` is a multiple of `LANES`.
    """
    _fill_softplus_(values, slopes, at, slopes_at, width)


@compiled
def _add_norms_(total, at, n, tensors, scales, cusp, factors):
    """Add Σ_l t^l √(|E^l|² + ε) of each site and fill `factors` with t^l / √(|E^l|² + ε)."""
    two, n_features = total.dtype.type(2.0), tensors.shape[2]
    for i in range(at, at + n):
        if scales.shape[0] >= 1:
            for a in range(n_features):
                x, y, z = tensors[i, 1, a], tensors[i, 2, a], tensors[i, 3, a]
                norm = np.sqrt(x * x + y * y + z * z + cusp)
                total[i, a] += scales[0, a] * norm
                factors[0, i, a] = scales[0, a] / norm
        if scales.shape[0] >= 2:
            for a in range(n_features):
                xx, xy, xz = tensors[i, 4, a], tensors[i, 5, a], tensors[i, 6, a]
                yy, yz = tensors[i, 7, a], tensors[i, 8, a]
                norm = np.sqrt(two * (xx * xx + xy * xy + xz * xz + yy * yy + yz * yz + xx * yy) + cusp)
                total[i, a] += scales[1, a] * norm
                factors[1, i, a] = scales[1, a] / norm


@compiled
def _differentiate_norms_(tensors, at, n, adjoint, factors):
    """Replace tensors by the derivatives with respect to them; `adjoint` belongs to the sum of norms."""
    two, n_features = adjoint.dtype.type(2.0), tensors.shape[2]
    for i in range(at, at + n):
        for a in range(n_features):
            tensors[i, 0, a] = adjoint[i, a]
        if tensors.shape[1] >= 4:
            for m in range(1, 4):
                for a in range(n_features):
                    tensors[i, m, a] *= adjoint[i, a] * factors[0, i, a]
        if tensors.shape[1] >= 9:
            for a in range(n_features):
                factor = adjoint[i, a] * factors[1, i, a]
                xx, yy = tensors[i, 4, a], tensors[i, 7, a]
                tensors[i, 4, a] = factor * (two * xx + yy)
                tensors[i, 7, a] = factor * (two * yy + xx)
                tensors[i, 5, a] *= two * factor
                tensors[i, 6, a] *= two * factor
                tensors[i, 8, a] *= two * factor
