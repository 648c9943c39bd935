"""The gradient of a loss on energies and forces by the weights of a HIP-NN-TS network with one interaction, for numba.

A few sites at a time go through sums, layers and back while everything stays in the nearest caches, as in
`beadsmith.kernels.one_interaction`; how a force loss is differentiated stands in `beadsmith.kernels.layer_gradients`.
"""
# mypy: disallow-untyped-defs=False, disallow-untyped-calls=False
# numba infers types itself; annotations would only be checked at calls that Python never makes

import numpy as np

from beadsmith.kernels.environments import allocate, overlap_block_, sum_block_
from beadsmith.kernels.gaussians import collect_parameters_, evaluate_, scale_
from beadsmith.kernels.layer_gradients import allocate_rates, apply_rates_, differentiate_rates_, load_record_
from beadsmith.kernels.products import multiply_
from beadsmith.kernels.rows import compiled, load_direction, load_pairs, longest_row
from beadsmith.kernels.site_layers import BLOCK


@compiled
def differentiate_sites(pairs, functions, interaction, layers, readout, sites, record, adjoints, start, stop):
    """Return the derivatives of Σ_i ē_i e_i + Σ_p d_p · dE/dv_p by all weights, from the sites `start` to `stop`.

    Parameters
    ----------
    pairs, functions, interaction, layers, readout, sites : As in `beadsmith.kernels.one_interaction.predict_sites`.
    record : What `predict_sites` has written.
    adjoints : ē (sites) and d (pairs, 3).

    Returns
    -------
    By the radial functions (see `gaussians.collect_parameters_`); by V (types × functions, features); by what enters
    and what bypasses the interaction (2, types, features); by t, square matrices and biases of the layers; by the
    readout; and by the constant energies.
    """
    order, offsets, vectors = pairs
    mixing, mixing_transposed, _, entering, _ = interaction
    n_kinds, n_features = entering.shape
    n_functions, n_sums, dtype = functions[0].shape[0], mixing.shape[0], vectors.dtype
    n_components = (1, 4, 9)[layers[0].shape[0]]
    width = longest_row(offsets, start * n_kinds, stop * n_kinds, BLOCK * n_kinds)
    radial, angular, values, slopes = allocate(width, n_functions, dtype)
    rates, tangent, moved = np.empty(width, dtype), np.empty((9, width), dtype), np.empty((9, width), dtype)
    overlap, other = np.empty_like(values), np.empty_like(values)
    sums = np.empty((2 * BLOCK, n_components, n_kinds, n_functions), dtype)
    tensors = np.empty((2 * BLOCK, n_components, n_features), dtype)
    memory = allocate_rates(BLOCK, n_features, (layers[2].shape[0] // 2 + 1, layers[0].shape[0]), dtype)
    on_functions, on_mixing = np.zeros((functions[2].shape[0], 3, n_functions)), np.zeros_like(mixing)
    on_inputs, on_readout, on_constants = (
        np.zeros((2, n_kinds, n_features), dtype),
        np.zeros_like(readout[0]),
        np.zeros_like(readout[1]),
    )
    on_layers = np.zeros_like(layers[0]), np.zeros_like(layers[2]), np.zeros_like(layers[4])
    for first in range(start, stop, BLOCK):
        last = min(first + BLOCK, stop)
        n_sites, begin = last - first, offsets[first * n_kinds]
        n = load_pairs(vectors, order, begin, offsets[last * n_kinds], functions[4], radial, angular)
        load_direction(order, begin, n, radial, angular, adjoints[1], rates, tangent)
        for m in range(n_components):
            for q in range(n):
                moved[m, q] = angular[m, q] * rates[q]
        evaluate_(functions, order, begin, n, radial, values, slopes)
        scale_(functions, order, begin, n, values)
        scale_(functions, order, begin, n, slopes)
        sum_block_(pairs, first, last, angular, values, sums, 0, True)
        sum_block_(pairs, first, last, moved, slopes, sums, n_sites, True)
        sum_block_(pairs, first, last, tangent, values, sums, n_sites, False)
        n_rows = 2 * n_sites * n_components
        left, right = (sums, 0, n_sums, 1), (mixing, 0, n_features)
        multiply_((tensors, 0, n_features), left, right, (n_rows, n_sums, n_features), True)
        load_record_(first, n_sites, record, memory)
        apply_rates_(n_sites, tensors, layers, memory)
        _read_out_(first, n_sites, memory, sites, adjoints[0], (on_readout, on_constants))
        differentiate_rates_(n_sites, tensors, layers, memory, on_layers)
        for i in range(n_sites):
            kind = sites[0][first + i]
            for a in range(n_features):
                on_inputs[0, kind, a] += memory[3][0, i, a]
                on_inputs[1, kind, a] += memory[2][0, i, a]
        left, right = (sums, 0, 1, n_sums), (tensors, 0, n_features)
        multiply_((on_mixing, 0, n_features), left, right, (n_sums, n_rows, n_features), False)
        left, right = (tensors, 0, n_features, 1), (mixing_transposed, 0, n_sums)
        multiply_((sums, 0, n_sums), left, right, (n_rows, n_features, n_sums), True)
        overlap_block_(pairs, first, last, angular, sums, n_sites, overlap, True)
        overlap_block_(pairs, first, last, tangent, sums, n_sites, other, True)
        overlap_block_(pairs, first, last, angular, sums, 0, other, False)
        if functions[2].shape[0] > 1:
            # the derivatives want functions without their amplitudes
            evaluate_(functions, order, begin, n, radial, values, slopes)
        collect_parameters_(functions, order, begin, n, radial, rates, values, slopes, overlap, other, on_functions)
    return on_functions, on_mixing, on_inputs, on_layers, on_readout, on_constants


@compiled
def _read_out_(first, n, memory, sites, on_energies, gradients):
    """Start the way back of n sites, and add the derivatives by the weights of the readout."""
    outputs, _, on_outputs, _, _, _, _ = memory
    kinds, channels = sites
    on_readout, on_constants = gradients
    last = outputs.shape[0] - 1
    for i in range(n):
        on_energy = on_energies[first + i]
        for a in range(outputs.shape[2]):
            on_outputs[last, i, a] = on_energy * on_outputs[last, n + i, a]
        for c in range(on_readout.shape[0]):
            share = channels[first + i, c]
            on_constants[c, kinds[first + i]] += share * on_energy
            for a in range(outputs.shape[2]):
                on_readout[c, a] += share * (on_energy * outputs[last, i, a] + outputs[last, n + i, a])
