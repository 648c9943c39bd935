"""The layers of HIP-NN-TS along a direction, and the derivatives by their weights, compiled by numba.

A force loss changes with the weights as a rate of the energy does: with d the derivative of the loss by dE/dv of each
pair, its gradient is that of dE/dt when the pairs move with velocity d. So each site carries values and rates through
the layers, x' = W x + b and ẋ' = W ẋ, a = φ(z) and ȧ = φ'(z) ż, and one way back differentiates both:
∂/∂ż = φ' ∂/∂ȧ, ∂/∂z = φ' ∂/∂a + φ'' ż ∂/∂ȧ, and ∂/∂W sums over both. Products take values and rates together: of n
sites, the first n rows are values and the next n rows are rates.

The readable twin is `beadsmith.networks.layers.Block`, differentiated twice by torch. Features are padded to whole
vectors; the layers are those of `beadsmith.kernels.site_layers.apply_layers_`.
"""
# mypy: disallow-untyped-defs=False, disallow-untyped-calls=False
# numba infers types itself; annotations would only be checked at calls that Python never makes

import numpy as np

from beadsmith.kernels.products import multiply_
from beadsmith.kernels.rows import compiled
from beadsmith.kernels.site_layers import softplus_


@compiled
def allocate_rates(n_sites, n_features, shape, dtype):
    """Return memory for `apply_with_rates_`; `shape` is the number of activations and the highest tensor rank."""
    n_layers, l_max = shape
    return (
        # what enters each layer, and what leaves the last one
        np.empty((n_layers + 1, 2 * n_sites, n_features), dtype),
        # activations, and the slopes at their values
        np.empty((n_layers, 2 * n_sites, n_features), dtype),
        np.empty((n_layers, n_sites, n_features), dtype),
        # norms
        np.empty((l_max, 2 * n_sites, n_features), dtype),
    )


@compiled
def apply_with_rates_(n, tensors, layers, memory):
    """Apply a block to the values and rates of n sites.

    Parameters
    ----------
    tensors : E and its rate (2 n rows, components, features).
    layers : As in `beadsmith.kernels.site_layers`.
    memory : Of `allocate_rates`: the first entries of inputs and activations hold what bypasses the interaction and the
        self-interaction; all others are filled.
    """
    scales, cusp, _, transposed, biases = layers
    inputs, activations, slopes, norms = memory
    n_features = inputs.shape[2]
    for i in range(2 * n):
        for a in range(n_features):
            activations[0, i, a] += tensors[i, 0, a]
    _add_norms_(n, activations, tensors, scales, cusp, norms)
    for layer in range(slopes.shape[0]):
        if layer > 0:
            _fill_(activations, layer, n, biases, 2 * layer - 1)
            _multiply_(activations, layer, inputs, layer, transposed, 2 * layer - 1, n, False)
        at = layer * activations.shape[1] * n_features
        softplus_(activations, slopes, at, layer * slopes.shape[1] * n_features, n * n_features)
        for i in range(n):
            for a in range(n_features):
                activations[layer, n + i, a] *= slopes[layer, i, a]
        for i in range(n):
            for a in range(n_features):
                inputs[layer + 1, i, a] = inputs[layer, i, a] + biases[2 * layer, a]
                inputs[layer + 1, n + i, a] = inputs[layer, n + i, a]
        _multiply_(inputs, layer + 1, activations, layer, transposed, 2 * layer, n, False)


@compiled
def differentiate_with_rates_(n, tensors, adjoint, layers, memory, gradients):
    """Replace E and its rate by the derivatives with respect to them; add the derivatives by the weights.

    Parameters
    ----------
    tensors, layers, memory : As `apply_with_rates_` left them.
    adjoint : Derivatives by what leaves the block, in the first entry (1 of 2, rows, features); there, those by what
        bypasses the interaction take their place. The second entry becomes those by the self-interaction.
    gradients : By t, by the square matrices (out × in), and by their biases.
    """
    scales, _, matrices, _, _ = layers
    inputs, activations, slopes, norms = memory
    on_scales, on_matrices, on_biases = gradients
    one, n_features = inputs.dtype.type(1.0), inputs.shape[2]
    for layer in range(slopes.shape[0] - 1, -1, -1):
        _collect_(adjoint, 0, activations, layer, on_matrices, on_biases, 2 * layer, n)
        _multiply_(adjoint, 1, adjoint, 0, matrices, 2 * layer, n, True)
        for i in range(n):
            for a in range(n_features):
                slope, on_rate = slopes[layer, i, a], adjoint[1, n + i, a]
                # softplus has φ'' = φ' (1 − φ')
                bend = (one - slope) * activations[layer, n + i, a]
                adjoint[1, i, a] = slope * adjoint[1, i, a] + bend * on_rate
                adjoint[1, n + i, a] = slope * on_rate
        if layer > 0:
            _collect_(adjoint, 1, inputs, layer, on_matrices, on_biases, 2 * layer - 1, n)
            _multiply_(adjoint, 0, adjoint, 1, matrices, 2 * layer - 1, n, False)
    _differentiate_norms_(n, tensors, adjoint, scales, norms, on_scales)


@compiled
def _multiply_(result, result_layer, left, left_layer, matrices, which, n, is_fresh):
    """Add the products of the 2 n rows of one layer with one of several matrices to another, or put them there."""
    depth, width = matrices.shape[1:]
    size = width * left.shape[1]
    multiply_(
        (result, result_layer * result.shape[1] * width, width),
        (left, left_layer * size, width, 1),
        (matrices, which * depth * width, width),
        (2 * n, depth, width),
        is_fresh,
    )


@compiled
def _fill_(rows, layer, n, biases, which):
    """Start values with a bias and rates with zero."""
    zero = rows.dtype.type(0.0)
    for i in range(n):
        for a in range(rows.shape[2]):
            rows[layer, i, a] = biases[which, a]
            rows[layer, n + i, a] = zero


@compiled
def _collect_(adjoint, entry, inputs, layer, on_matrices, on_biases, which, n):
    """Add the derivatives by one matrix and its bias from those by its outputs and from its inputs."""
    depth, width = on_matrices.shape[1:]
    multiply_(
        (on_matrices, which * depth * width, width),
        (adjoint, entry * adjoint.shape[1] * width, 1, width),
        (inputs, layer * inputs.shape[1] * width, width),
        (depth, 2 * n, width),
        False,
    )
    for i in range(n):
        for a in range(width):
            on_biases[which, a] += adjoint[entry, i, a]


@compiled
def _add_norms_(n, total, tensors, scales, cusp, norms):
    """Add t^l N and t^l Ṅ to the first entry of `total`, N = √(|E^l|² + ε), and keep N and Ṅ."""
    two, n_features = norms.dtype.type(2.0), norms.shape[2]
    for i in range(n):
        j = n + i
        if scales.shape[0] >= 1:
            for a in range(n_features):
                x, y, z = tensors[i, 1, a], tensors[i, 2, a], tensors[i, 3, a]
                norm = np.sqrt(x * x + y * y + z * z + cusp)
                rate = (x * tensors[j, 1, a] + y * tensors[j, 2, a] + z * tensors[j, 3, a]) / norm
                norms[0, i, a], norms[0, j, a] = norm, rate
                total[0, i, a] += scales[0, a] * norm
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
                total[0, i, a] += scales[1, a] * norm
                total[0, j, a] += scales[1, a] * rate


@compiled
def _differentiate_norms_(n, tensors, adjoint, scales, norms, on_scales):
    """Replace E and Ė by derivatives; `adjoint[1]` holds those by the sum of norms and by its rate.

    With N² = E·G E + ε: ∂N/∂E = G E / N, ∂Ṅ/∂Ė = G E / N and ∂Ṅ/∂E = (G Ė − Ṅ G E / N) / N; G is 1 for vectors.
    """
    one, two, n_features = norms.dtype.type(1.0), norms.dtype.type(2.0), norms.shape[2]
    for i in range(n):
        j = n + i
        for a in range(n_features):
            tensors[i, 0, a], tensors[j, 0, a] = adjoint[1, i, a], adjoint[1, j, a]
        for rank in range(scales.shape[0]):
            for a in range(n_features):
                norm, rate = norms[rank, i, a], norms[rank, j, a]
                on_scales[rank, a] += adjoint[1, i, a] * norm + adjoint[1, j, a] * rate
                # from here on the factors of G E in ∂/∂E, and of G Ė in ∂/∂E and G E in ∂/∂Ė
                inverse = one / norm
                of_rate = scales[rank, a] * adjoint[1, j, a] * inverse
                norms[rank, i, a] = scales[rank, a] * adjoint[1, i, a] * inverse - of_rate * rate * inverse
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
