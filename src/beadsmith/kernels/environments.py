"""Sums over neighbours of s_ν u_m, and their derivatives, compiled by numba; notation as in `beadsmith.kernels.rows`.

The readable twin is `beadsmith.networks.sweeps.environment_sums`. A sweep takes the sites from `start` to `stop`.

Arguments that all share (arrays of one precision; K and the features padded to whole vectors)
----------------------------------------------------------------------------------------------
pairs : Pairs in the order of the sweep, start of each (site, kind) among them, vectors (pairs, 3).
functions : c_ν, w_ν, amplitudes (classes, K), class of each pair, cutoff.
"""
# mypy: disallow-untyped-defs=False, disallow-untyped-calls=False
# numba infers types itself; annotations would only be checked at calls that Python never makes

import numpy as np

from beadsmith.kernels.gaussians import collect_parameters_, evaluate_, scale_
from beadsmith.kernels.products import multiply_, take_dots_
from beadsmith.kernels.rows import compiled, load_direction, load_pairs, longest_row, write_gradient
from beadsmith.kernels.site_layers import BLOCK


@compiled
def allocate(width, n_functions, dtype):
    """Return memory for the pairs of a block: three radial rows, nine angular rows, values and slopes."""
    return (
        np.empty((3, width), dtype),
        np.empty((9, width), dtype),
        np.zeros((width, n_functions), dtype),
        np.zeros((width, n_functions), dtype),
    )


@compiled
def sum_block_(pairs, first, last, angular, values, sums, at, is_fresh):
    """Put the sums of the sites of a block into `sums` (sites, components, kinds, functions) from site `at` on.

    They are added to what is there unless `is_fresh`.
    """
    offsets, width = pairs[1], angular.shape[1]
    n_components, n_kinds, n_functions = sums.shape[1:]
    begin = offsets[first * n_kinds]
    for i in range(first, last):
        for t in range(n_kinds):
            q, n = offsets[i * n_kinds + t] - begin, offsets[i * n_kinds + t + 1] - offsets[i * n_kinds + t]
            target = ((at + i - first) * n_components * n_kinds + t) * n_functions
            multiply_(
                (sums, target, n_kinds * n_functions),
                (angular, q, width, 1),
                (values, q * n_functions, n_functions),
                (n_components, n, n_functions),
                is_fresh,
            )


@compiled
def overlap_block_(pairs, first, last, angular, adjoint, at, overlap, is_fresh):
    """Fill Σ_m u_m dE/dA[i,m,t,ν] of each pair of a block, or add it; the adjoint of its first site is number `at`."""
    offsets, width = pairs[1], angular.shape[1]
    n_components, n_kinds, n_functions = adjoint.shape[1:]
    begin = offsets[first * n_kinds]
    for i in range(first, last):
        for t in range(n_kinds):
            q, n = offsets[i * n_kinds + t] - begin, offsets[i * n_kinds + t + 1] - offsets[i * n_kinds + t]
            source = ((at + i - first) * n_components * n_kinds + t) * n_functions
            multiply_(
                (overlap, q * n_functions, n_functions),
                (angular, q, 1, width),
                (adjoint, source, n_kinds * n_functions),
                (n, n_components, n_functions),
                is_fresh,
            )


@compiled
def spread_block_(pairs, first, last, memory, more, adjoint, at, gradient):
    """Write dE/dv of the pairs of a block from dE/dA of its sites; the adjoint of its first site is number `at`."""
    order, offsets, _ = pairs
    radial, angular, values, slopes = memory
    overlap, along, across = more
    n_components, n_kinds, n_functions = adjoint.shape[1:]
    begin = offsets[first * n_kinds]
    overlap_block_(pairs, first, last, angular, adjoint, at, overlap, True)
    for i in range(first, last):
        for t in range(n_kinds):
            q, n = offsets[i * n_kinds + t] - begin, offsets[i * n_kinds + t + 1] - offsets[i * n_kinds + t]
            source = ((at + i - first) * n_components * n_kinds + t) * n_functions
            for m in range(1, n_components):
                take_dots_(
                    (across, m * across.shape[1] + q, 1),
                    (values, q * n_functions, n_functions),
                    (adjoint, source + m * n_kinds * n_functions),
                    (n, n_functions),
                )
    n = offsets[last * n_kinds] - begin
    for q in range(n):
        row = q * n_functions
        take_dots_((along, q, 1), (overlap, row, n_functions), (slopes, row), (1, n_functions))
    write_gradient(order, begin, n, radial, angular, along, across, gradient)


@compiled
def sum_environments(pairs, functions, sums, start, stop):
    """Fill A[i,m,t,ν] = Σ_j s_ν u_m over the neighbours of kind t."""
    order, offsets, vectors = pairs
    n_kinds, n_functions = sums.shape[2:]
    width = longest_row(offsets, start * n_kinds, stop * n_kinds, BLOCK * n_kinds)
    radial, angular, values, slopes = allocate(width, n_functions, vectors.dtype)
    for first in range(start, stop, BLOCK):
        last = min(first + BLOCK, stop)
        begin, end = offsets[first * n_kinds], offsets[last * n_kinds]
        n = load_pairs(vectors, order, begin, end, functions[4], radial, angular)
        evaluate_(functions, order, begin, n, radial, values, slopes)
        scale_(functions, order, begin, n, values)
        sum_block_(pairs, first, last, angular, values, sums, first, True)


@compiled
def environment_adjoint(pairs, functions, adjoint, gradient, start, stop):
    """Fill dE/dv of each pair from `adjoint` = dE/dA[i,m,t,ν]."""
    order, offsets, vectors = pairs
    n_kinds, n_functions = adjoint.shape[2:]
    width = longest_row(offsets, start * n_kinds, stop * n_kinds, BLOCK * n_kinds)
    memory = allocate(width, n_functions, vectors.dtype)
    radial, angular, values, slopes = memory
    more = np.empty_like(values), np.empty(width, vectors.dtype), np.zeros((9, width), vectors.dtype)
    for first in range(start, stop, BLOCK):
        last = min(first + BLOCK, stop)
        begin, end = offsets[first * n_kinds], offsets[last * n_kinds]
        n = load_pairs(vectors, order, begin, end, functions[4], radial, angular)
        evaluate_(functions, order, begin, n, radial, values, slopes)
        scale_(functions, order, begin, n, values)
        scale_(functions, order, begin, n, slopes)
        spread_block_(pairs, first, last, memory, more, adjoint, first, gradient)


@compiled
def environment_parameters(pairs, functions, adjoint, start, stop):
    """Return the derivatives by the parameters of the radial functions (see `collect_parameters_`) from dE/dA."""
    order, offsets, vectors = pairs
    n_kinds, n_functions = adjoint.shape[2:]
    width = longest_row(offsets, start * n_kinds, stop * n_kinds, BLOCK * n_kinds)
    radial, angular, values, slopes = allocate(width, n_functions, vectors.dtype)
    overlap, rates = np.empty_like(values), np.zeros(width, vectors.dtype)
    totals = np.zeros((functions[2].shape[0], 3, n_functions))
    for first in range(start, stop, BLOCK):
        last = min(first + BLOCK, stop)
        begin, end = offsets[first * n_kinds], offsets[last * n_kinds]
        n = load_pairs(vectors, order, begin, end, functions[4], radial, angular)
        evaluate_(functions, order, begin, n, radial, values, slopes)
        overlap_block_(pairs, first, last, angular, adjoint, first, overlap, True)
        collect_parameters_(functions, order, begin, n, radial, rates, values, slopes, overlap, overlap, totals)
    return totals


@compiled
def environment_adjoint_backward(pairs, functions, adjoint, direction, on_adjoint, start, stop):
    """Fill the derivative of Σ_p direction_p · dE/dv_p by `adjoint` and return those by the functions' parameters."""
    order, offsets, vectors = pairs
    n_components, n_kinds, n_functions = adjoint.shape[1:]
    width = longest_row(offsets, start * n_kinds, stop * n_kinds, BLOCK * n_kinds)
    radial, angular, values, slopes = allocate(width, n_functions, vectors.dtype)
    rates, tangent = np.empty(width, vectors.dtype), np.empty((9, width), vectors.dtype)
    overlap, other = np.empty_like(values), np.empty_like(values)
    totals = np.zeros((functions[2].shape[0], 3, n_functions))
    for first in range(start, stop, BLOCK):
        last = min(first + BLOCK, stop)
        begin, end = offsets[first * n_kinds], offsets[last * n_kinds]
        n = load_pairs(vectors, order, begin, end, functions[4], radial, angular)
        load_direction(order, begin, n, radial, angular, direction, rates, tangent)
        evaluate_(functions, order, begin, n, radial, values, slopes)
        overlap_block_(pairs, first, last, angular, adjoint, first, overlap, True)
        overlap_block_(pairs, first, last, tangent, adjoint, first, other, True)
        collect_parameters_(functions, order, begin, n, radial, rates, values, slopes, overlap, other, totals)
        scale_(functions, order, begin, n, values)
        scale_(functions, order, begin, n, slopes)
        for m in range(n_components):
            for q in range(n):
                angular[m, q] *= rates[q]
        sum_block_(pairs, first, last, angular, slopes, on_adjoint, first, True)
        sum_block_(pairs, first, last, tangent, values, on_adjoint, first, False)
    return totals
