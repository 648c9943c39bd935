"""The layers of HIP-NN-TS along a direction, and the derivatives by their weights, compiled by numba.

A force loss changes with the weights as a rate of the energy does: with d the derivative of the loss by dE/dv of each
pair, its gradient is that of dE/dt when the pairs move with velocity d. So each site carries values and rates through
the layers, x' = W x + b and ẋ' = W ẋ, a = φ(z) and ȧ = φ'(z) ż, and one way back differentiates both:
∂/∂ż = φ' ∂/∂ȧ, ∂/∂z = φ' ∂/∂a + φ'' ż ∂/∂ȧ, and ∂/∂W sums over both. Of n sites, the first n rows are values and the
next n rows are rates.

The derivatives by rates are those of the energy by values, so that they are known from the forces, as are the values:
both come from the record of `beadsmith.kernels.site_layers`. What remains are four products for each matrix.

The readable twin is `beadsmith.networks.layers.Block`, differentiated twice by torch. Features are padded to whole
vectors; the layers are those of `beadsmith.kernels.site_layers.apply_layers_`.
"""
# mypy: disallow-untyped-defs=False, disallow-untyped-calls=False
# numba infers types itself; annotations would only be checked at calls that Python never makes

import numpy as np

from beadsmith.kernels.products import multiply_
from beadsmith.kernels.rows import compiled
from beadsmith.kernels.site_layers import ACTIVATIONS, INPUTS, ON_INNER, ON_OUTPUTS, SLOPES


@compiled
def allocate_rates(n_sites, n_features, shape, dtype):
    """Return memory for `apply_rates_`; `shape` is the number of activations and the highest tensor rank."""
    n_layers, l_max = shape
    rows = 2 * n_sites
    return (
        # what leaves each layer, activations, and the derivatives by what leaves a layer and by what is activated
        np.empty((n_layers, rows, n_features), dtype),
        np.empty((n_layers, rows, n_features), dtype),
        np.empty((n_layers, rows, n_features), dtype),
        np.empty((n_layers, rows, n_features), dtype),
        # slopes of the activations, and the rates of their logarithms
        np.empty((n_layers, n_sites, n_features), dtype),
        np.empty((n_layers, n_sites, n_features), dtype),
        # norms
        np.empty((l_max, rows, n_features), dtype),
    )


@compiled
def load_record_(first, n, record, memory):
    """Fill the values of n sites and the derivatives by their rates from a record, from site `first` on."""
    outputs, activations, on_outputs, on_inner, slopes, _, _ = memory
    for layer in range(record.shape[1]):
        for i in range(n):
            for a in range(record.shape[3]):
                outputs[layer, i, a] = record[INPUTS, layer, first + i, a]
                activations[layer, i, a] = record[ACTIVATIONS, layer, first + i, a]
                slopes[layer, i, a] = record[SLOPES, layer, first + i, a]
                on_outputs[layer, n + i, a] = record[ON_OUTPUTS, layer, first + i, a]
                on_inner[layer, n + i, a] = record[ON_INNER, layer, first + i, a]


@compiled
def apply_rates_(n, tensors, layers, memory):
    """Let the rates of n sites follow their values through a block.

    Parameters
    ----------
    tensors : E and its rate (2 n rows, components, features); what else enters the block does not move.
    layers : As in `beadsmith.kernels.site_layers`.
    memory : Of `allocate_rates`, after `load_record_`.
    """
    scales, cusp, _, transposed, _ = layers
    outputs, activations, _, _, slopes, bends, norms = memory
    one, n_features = outputs.dtype.type(1.0), outputs.shape[2]
    for i in range(n, 2 * n):
        for a in range(n_features):
            activations[0, i, a] = tensors[i, 0, a]
    _add_norms_(n, activations, tensors, scales, cusp, norms)
    for layer in range(slopes.shape[0]):
        if layer > 0:
            _multiply_(activations, layer, outputs, layer - 1, transposed, 2 * layer - 1, n, n, True)
        for i in range(n):
            for a in range(n_features):
                # softplus has φ'' = φ' (1 − φ')
                bends[layer, i, a] = (one - slopes[layer, i, a]) * activations[layer, n + i, a]
                activations[layer, n + i, a] *= slopes[layer, i, a]
        _multiply_(outputs, layer, activations, layer, transposed, 2 * layer, n, n, True)
        if layer > 0:
            _add_(outputs, layer, layer - 1, n, n)


@compiled
def differentiate_rates_(n, tensors, layers, memory, gradients):
    """Replace E and its rate by the derivatives with respect to them; add the derivatives by the weights.

    Parameters
    ----------
    tensors, layers, memory : As `apply_rates_` left them, with derivatives by the values that leave the block. Those by
        the values that bypass the interaction and by the self-interaction are then the first of each kind.
    gradients : By t, by the square matrices (out × in), and by their biases.
    """
    scales, _, matrices, _, _ = layers
    outputs, activations, on_outputs, on_inner, slopes, bends, norms = memory
    on_scales, on_matrices, on_biases = gradients
    for layer in range(slopes.shape[0] - 1, -1, -1):
        _collect_(on_outputs, layer, activations, layer, on_matrices, on_biases, 2 * layer, n)
        _multiply_(on_inner, layer, on_outputs, layer, matrices, 2 * layer, 0, n, True)
        for i in range(n):
            for a in range(on_inner.shape[2]):
                on_inner[layer, i, a] *= slopes[layer, i, a]
                on_inner[layer, i, a] += bends[layer, i, a] * on_inner[layer, n + i, a]
        if layer > 0:
            _collect_(on_inner, layer, outputs, layer - 1, on_matrices, on_biases, 2 * layer - 1, n)
            _multiply_(on_outputs, layer - 1, on_inner, layer, matrices, 2 * layer - 1, 0, n, True)
            _add_(on_outputs, layer - 1, layer, 0, n)
    _differentiate_norms_(n, tensors, on_inner, scales, norms, on_scales)


@compiled
def _multiply_(result, result_layer, left, left_layer, matrices, which, at, n, is_fresh):
    """Add the products of n rows of one layer with one of several matrices to those of another, or put them there."""
    depth, width = matrices.shape[1:]
    rows = left.shape[1]
    multiply_(
        (result, (result_layer * rows + at) * width, width),
        (left, (left_layer * rows + at) * width, width, 1),
        (matrices, which * depth * width, width),
        (n, depth, width),
        is_fresh,
    )


@compiled
def _add_(rows, layer, other, at, n):
    """Add n rows of another layer to those of one."""
    for i in range(at, at + n):
        for a in range(rows.shape[2]):
            rows[layer, i, a] += rows[other, i, a]


@compiled
def _collect_(adjoint, layer, inputs, input_layer, on_matrices, on_biases, which, n):
    """Add the derivatives by one matrix and its bias from those by its outputs and from its inputs."""
    depth, width = on_matrices.shape[1:]
    multiply_(
        (on_matrices, which * depth * width, width),
        (adjoint, layer * adjoint.shape[1] * width, 1, width),
        (inputs, input_layer * inputs.shape[1] * width, width),
        (depth, 2 * n, width),
        False,
    )
    for i in range(n):
        for a in range(width):
            on_biases[which, a] += adjoint[layer, i, a]


@compiled
def _add_norms_(n, total, tensors, scales, cusp, norms):
    """Add t^l Ṅ to the rates of the first entry of `total`, N = √(|E^l|² + ε), and keep N and Ṅ."""
    two, n_features = norms.dtype.type(2.0), norms.shape[2]
    for i in range(n):
        j = n + i
        if scales.shape[0] >= 1:
            for a in range(n_features):
                x, y, z = tensors[i, 1, a], tensors[i, 2, a], tensors[i, 3, a]
                norm = np.sqrt(x * x + y * y + z * z + cusp)
                rate = (x * tensors[j, 1, a] + y * tensors[j, 2, a] + z * tensors[j, 3, a]) / norm
                norms[0, i, a], norms[0, j, a] = norm, rate
                total[0, j, a] += scales[0, a] * rate
        if scales.shape[0] >= 2:
            for a in range(n_features):
                xx, xy, xz = tensors[i, 4, a], tensors[i, 5, a], tensors[i, 6, a]
                yy, yz = tensors[i, 7, a], tensors[i, 8, a]
                norm = np.sqrt(two * (xx * xx + xy * xy + xz * xz + yy * yy + yz * yz + xx * yy) + cusp)
                product = (two * xx + yy) * tensors[j, 4, a] + (two * yy + xx) * tensors[j, 7, a]
                product += two * (xy * tensors[j, 5, a] + xz * tensors[j, 6, a] + yz * tensors[j, 8, a])
                rate = product / norm
                norms[1, i, a], norms[1, j, a] = norm, rate
                total[0, j, a] += scales[1, a] * rate


@compiled
def _differentiate_norms_(n, tensors, adjoint, scales, norms, on_scales):
    """Replace E and Ė by derivatives; `adjoint[0]` holds those by the sum of norms and by its rate.

    With N² = E·G E + ε: ∂N/∂E = G E / N, ∂Ṅ/∂Ė = G E / N and ∂Ṅ/∂E = (G Ė − Ṅ G E / N) / N; G is 1 for vectors.
    """
    one, two, n_features = norms.dtype.type(1.0), norms.dtype.type(2.0), norms.shape[2]
    for i in range(n):
        j = n + i
        for a in range(n_features):
            tensors[i, 0, a], tensors[j, 0, a] = adjoint[0, i, a], adjoint[0, j, a]
        for rank in range(scales.shape[0]):
            for a in range(n_features):
                norm, rate = norms[rank, i, a], norms[rank, j, a]
                on_scales[rank, a] += adjoint[0, i, a] * norm + adjoint[0, j, a] * rate
                # from here on the factors of G E in ∂/∂E, and of G Ė in ∂/∂E and G E in ∂/∂Ė
                inverse = one / norm
                of_rate = scales[rank, a] * adjoint[0, j, a] * inverse
                norms[rank, i, a] = scales[rank, a] * adjoint[0, i, a] * inverse - of_rate * rate * inverse
                norms[rank, j, a] = of_rate
        if scales.shape[0] >= 1:
            for m in range(1, 4):
                for a in range(n_features):
                    value, rate = tensors[i, m, a], tensors[j, m, a]
                    tensors[i, m, a] = norms[0, i, a] * value + norms[0, j, a] * rate
                    tensors[j, m, a] = norms[0, j, a] * value
        if scales.shape[0] >= 2:
            for m in (5, 6, 8):
                for a in range(n_features):
                    value, rate = two * tensors[i, m, a], two * tensors[j, m, a]
                    tensors[i, m, a] = norms[1, i, a] * value + norms[1, j, a] * rate
                    tensors[j, m, a] = norms[1, j, a] * value
            for a in range(n_features):
                xx, yy = two * tensors[i, 4, a] + tensors[i, 7, a], two * tensors[i, 7, a] + tensors[i, 4, a]
                dx, dy = two * tensors[j, 4, a] + tensors[j, 7, a], two * tensors[j, 7, a] + tensors[j, 4, a]
                tensors[i, 4, a] = norms[1, i, a] * xx + norms[1, j, a] * dx
                tensors[i, 7, a] = norms[1, i, a] * yy + norms[1, j, a] * dy
                tensors[j, 4, a], tensors[j, 7, a] = norms[1, j, a] * xx, norms[1, j, a] * yy
