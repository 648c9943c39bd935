"""Polynomials in the features of each site, channel by channel, compiled by numba: the symmetric contraction of MACE.

B[a,i,k] = Σ_r w[type(i), η(r), k] T_r over the rows r with result a(r), and T_r = Σ_t c_t μ_t: each row is a sparse sum
of monomials μ of up to three features. Features and monomials of one site and one vector of channels stay in the
cache. A monomial names three places among the features; the place after the last feature holds the number 1.

The readable twin is `beadsmith.networks.contraction.SymmetricContraction`.
"""
# mypy: disallow-untyped-defs=False, disallow-untyped-calls=False
# numba infers types itself; annotations would only be checked at calls that Python never makes

from beadsmith.kernels.rows import compiled
from beadsmith.kernels.vectors import allocate_vectors, count_lanes, get, load, store, zero_vector


@compiled
def _clear_(array):
    for k in range(array.shape[0]):
        array[k] = array.dtype.type(0.0)


@compiled
def _load_site_(features, i, block, last, own):
    """Copy one vector of each feature of a site, and put `last` behind them."""
    lanes, flat = count_lanes(own), features.reshape(-1)
    n_components, n_sites, n_channels = features.shape
    for c in range(n_components):
        store(own, c * lanes, load(flat, (c * n_sites + i) * n_channels + block))
    for k in range(lanes):
        own[n_components * lanes + k] = last


@compiled
def _store_site_(own, features, i, block):
    """Write one vector of each feature of a site."""
    lanes, flat = count_lanes(own), features.reshape(-1)
    n_components, n_sites, n_channels = features.shape
    for c in range(n_components):
        store(flat, (c * n_sites + i) * n_channels + block, load(own, c * lanes))


@compiled
def _fill_monomials_(factors, own, monomials):
    lanes = count_lanes(own)
    for v in range(factors.shape[0] // 3):
        pair = load(own, get(factors, 3 * v) * lanes) * load(own, get(factors, 3 * v + 1) * lanes)
        store(monomials, v * lanes, pair * load(own, get(factors, 3 * v + 2) * lanes))


@compiled
def _fill_rates_(factors, own, moves, rates):
    """Fill the rates of all monomials when the features change at the rates `moves`."""
    lanes = count_lanes(own)
    for v in range(factors.shape[0] // 3):
        a, b, c = get(factors, 3 * v) * lanes, get(factors, 3 * v + 1) * lanes, get(factors, 3 * v + 2) * lanes
        x, y = load(own, a), load(own, b)
        store(rates, v * lanes, (load(moves, a) * y + x * load(moves, b)) * load(own, c) + x * y * load(moves, c))


@compiled
def _sum_row(terms, r, monomials):
    """Return T of one row."""
    firsts, places, values = terms
    lanes = count_lanes(monomials)
    total = zero_vector(monomials)
    for t in range(get(firsts, r), get(firsts, r + 1)):
        total = total + get(values, t) * load(monomials, get(places, t) * lanes)
    return total


@compiled
def _add_rows_(program, weights, start, monomials, results):
    """Add w T to the result of each row; `start` is where the weights of the site's type begin."""
    _, targets, terms = program
    lanes = count_lanes(monomials)
    for r in range(targets.shape[0]):
        at = targets[r, 0] * lanes
        weight = load(weights, start + targets[r, 1])
        store(results, at, load(results, at) + weight * _sum_row(terms, r, monomials))


@compiled
def _add_weights_(program, adjoint, monomials, on_weights, start):
    """Add what each row gives to the derivative by its weight."""
    _, targets, terms = program
    lanes = count_lanes(monomials)
    for r in range(targets.shape[0]):
        at = start + targets[r, 1]
        own = load(adjoint, targets[r, 0] * lanes) * _sum_row(terms, r, monomials)
        store(on_weights, at, load(on_weights, at) + own)


@compiled
def _weigh_monomials_(program, weights, start, adjoint, on_monomials):
    """Fill the derivative of Σ `adjoint` B by each monomial."""
    _, targets, (firsts, places, values) = program
    lanes = count_lanes(on_monomials)
    _clear_(on_monomials)
    for r in range(targets.shape[0]):
        received = load(adjoint, targets[r, 0] * lanes) * load(weights, start + targets[r, 1])
        for t in range(get(firsts, r), get(firsts, r + 1)):
            at = get(places, t) * lanes
            store(on_monomials, at, load(on_monomials, at) + get(values, t) * received)


@compiled
def _add_factors_(factors, own, on_monomials, on_own):
    """Add the derivative by each feature from those by the monomials."""
    lanes = count_lanes(own)
    for v in range(factors.shape[0] // 3):
        a, b, c = get(factors, 3 * v) * lanes, get(factors, 3 * v + 1) * lanes, get(factors, 3 * v + 2) * lanes
        x, y, z, received = load(own, a), load(own, b), load(own, c), load(on_monomials, v * lanes)
        store(on_own, a, load(on_own, a) + received * (y * z))
        store(on_own, b, load(on_own, b) + received * (x * z))
        store(on_own, c, load(on_own, c) + received * (x * y))


@compiled
def _add_moved_factors_(factors, own, moves, on_monomials, on_own):
    """Add the derivative by each feature of the rate of Σ `on_monomials` μ."""
    lanes = count_lanes(own)
    for v in range(factors.shape[0] // 3):
        a, b, c = get(factors, 3 * v) * lanes, get(factors, 3 * v + 1) * lanes, get(factors, 3 * v + 2) * lanes
        x, y, z, received = load(own, a), load(own, b), load(own, c), load(on_monomials, v * lanes)
        p, q, s = load(moves, a), load(moves, b), load(moves, c)
        store(on_own, a, load(on_own, a) + received * (q * z + y * s))
        store(on_own, b, load(on_own, b) + received * (p * z + x * s))
        store(on_own, c, load(on_own, c) + received * (p * y + x * q))


@compiled
def _allocate(array, program, n_components, n_results):
    """Return memory for one site: features, their rates and derivatives, results, and monomials twice."""
    lanes = count_lanes(array.reshape(-1))
    n_monomials = program[0].shape[0] // 3
    return (
        allocate_vectors((n_components + 1) * lanes, array.dtype),
        allocate_vectors((n_components + 1) * lanes, array.dtype),
        allocate_vectors((n_components + 1) * lanes, array.dtype),
        allocate_vectors((n_results + 1) * lanes, array.dtype),
        allocate_vectors(n_monomials * lanes, array.dtype),
        allocate_vectors(n_monomials * lanes, array.dtype),
    )


@compiled
def contract_(first, last, program, types, features, weights, results):
    """Fill B of sites `first` to `last` − 1.

    Parameters
    ----------
    first, last : Range of sites.
    program : Factors of all monomials, three each; for each row its result and where its weight begins among those of
        a type; and the terms of the rows: first term of each, and monomial and coefficient of each term.
    types : Type of each site.
    features, results : A and B, (components, sites, channels); channels fill whole vectors.
    weights : w, (types, couplings, channels).
    """
    own, _, _, found, monomials, _ = _allocate(features, program, features.shape[0], results.shape[0])
    flat, one = weights.reshape(-1), features.dtype.type(1.0)
    for i in range(first, last):
        start = types[i] * weights.shape[1] * weights.shape[2]
        for block in range(0, features.shape[2], count_lanes(flat)):
            _load_site_(features, i, block, one, own)
            _fill_monomials_(program[0], own, monomials)
            _clear_(found)
            _add_rows_(program, flat, start + block, monomials, found)
            _store_site_(found, results, i, block)


@compiled
def weigh_contraction_(first, last, program, types, features, adjoint, on_weights):
    """Add the derivative by w of an energy whose derivative by B is `adjoint`; other parameters as in `contract_`."""
    own, _, _, received, monomials, _ = _allocate(features, program, features.shape[0], adjoint.shape[0])
    flat, one, zero = on_weights.reshape(-1), features.dtype.type(1.0), features.dtype.type(0.0)
    for i in range(first, last):
        start = types[i] * on_weights.shape[1] * on_weights.shape[2]
        for block in range(0, features.shape[2], count_lanes(flat)):
            _load_site_(features, i, block, one, own)
            _load_site_(adjoint, i, block, zero, received)
            _fill_monomials_(program[0], own, monomials)
            _add_weights_(program, received, monomials, flat, start + block)


@compiled
def contraction_adjoint_(first, last, program, types, features, weights, adjoint, on_features):
    """Fill the derivative by A of an energy whose derivative by B is `adjoint`; other parameters as in `contract_`."""
    own, _, found, received, _, on_monomials = _allocate(features, program, features.shape[0], adjoint.shape[0])
    flat, one, zero = weights.reshape(-1), features.dtype.type(1.0), features.dtype.type(0.0)
    for i in range(first, last):
        start = types[i] * weights.shape[1] * weights.shape[2]
        for block in range(0, features.shape[2], count_lanes(flat)):
            _load_site_(features, i, block, one, own)
            _load_site_(adjoint, i, block, zero, received)
            _weigh_monomials_(program, flat, start + block, received, on_monomials)
            _clear_(found)
            _add_factors_(program[0], own, on_monomials, found)
            _store_site_(found, on_features, i, block)


@compiled
def move_contraction_(first, last, program, types, features, moves, weights, adjoint, results):
    """Fill the derivatives of the rate of Σ `adjoint` B, when A changes at the rates `moves`.

    Fills those by A and by `adjoint`, and adds that by w; `results` are the three, other parameters as in `contract_`.
    """
    on_features, on_adjoint, on_weights = results
    memory = _allocate(features, program, features.shape[0], adjoint.shape[0])
    own, moved, found, received, monomials, on_monomials = memory
    changed = allocate_vectors(received.shape[0], received.dtype)
    flat, flat_on = weights.reshape(-1), on_weights.reshape(-1)
    one, zero = features.dtype.type(1.0), features.dtype.type(0.0)
    for i in range(first, last):
        start = types[i] * weights.shape[1] * weights.shape[2]
        for block in range(0, features.shape[2], count_lanes(flat)):
            _load_site_(features, i, block, one, own)
            _load_site_(moves, i, block, zero, moved)
            _load_site_(adjoint, i, block, zero, received)
            _fill_rates_(program[0], own, moved, monomials)
            _add_weights_(program, received, monomials, flat_on, start + block)
            _clear_(changed)
            _add_rows_(program, flat, start + block, monomials, changed)
            _store_site_(changed, on_adjoint, i, block)
            _weigh_monomials_(program, flat, start + block, received, on_monomials)
            _clear_(found)
            _add_moved_factors_(program[0], own, moved, on_monomials, found)
            _store_site_(found, on_features, i, block)
