"""The conformance kit: what every network must satisfy, as one function a test calls.

A new network is one file plus one test that calls `check_network`; nothing here knows a particular architecture.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from beadsmith.energy import AbstractNetwork

# Central differences of fourth order: small against the width of near-cusps (1e-3 nm), large against rounding
_STEP = 1e-5


@dataclass(frozen=True, kw_only=True)
class NetworkInput:
    """What a network sees: sites and their directed pairs, sorted by first site."""

    types: Int[Tensor, "sites"]
    """Type index of each site."""
    pair_index: Int[Tensor, "2 pairs"]
    """First and second site of each pair."""
    pair_vectors: Float[Tensor, "pairs 3"]
    """Vector from first to second site [nm]."""
    bond_class: Int[Tensor, "pairs"]
    """Relation of the two sites."""

    def to(self, dtype: torch.dtype) -> "NetworkInput":
        """Return the same input in another precision."""
        return replace(self, pair_vectors=self.pair_vectors.to(dtype))


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Sites in open space, with molecules of two."""

    types: Int[Tensor, "sites"]
    """Type index of each site."""
    positions: Float[Tensor, "sites 3"]
    """Positions [nm]."""

    def pairs(self, cutoff: float) -> NetworkInput:
        """Return all pairs within the cutoff, by comparing every site with every other."""
        vectors = self.positions[None] - self.positions[:, None]
        near = torch.linalg.vector_norm(vectors, dim=2) < cutoff
        near.fill_diagonal_(False)
        first, second = torch.nonzero(near, as_tuple=True)
        return NetworkInput(
            types=self.types,
            pair_index=torch.stack([first, second]),
            pair_vectors=vectors[first, second],
            bond_class=(first // 2 == second // 2).long(),
        )


def build_cluster(n_sites: int, n_types: int, *, seed: int, spacing: float = 0.3) -> Cluster:
    """Return a random cluster in float64 in which no two sites are closer than `spacing` [nm]."""
    generator = torch.Generator().manual_seed(seed)
    radius = 0.8 * spacing * n_sites ** (1.0 / 3.0)
    positions = torch.zeros(0, 3, dtype=torch.float64)
    while len(positions) < n_sites:
        trial = radius * (2.0 * torch.rand(1, 3, generator=generator, dtype=torch.float64) - 1.0)
        if len(positions) == 0 or torch.linalg.vector_norm(positions - trial, dim=1).min() > spacing:
            positions = torch.cat([positions, trial])
    return Cluster(types=torch.arange(n_sites) % n_types, positions=positions)


def build_box(
    *, n_sites: int, n_types: int, cutoff: float, seed: int, dtype: torch.dtype = torch.float64, density: float = 14.1
) -> NetworkInput:
    """Return a periodic box of a random liquid, with pairs by minimum image.

    Parameters
    ----------
    n_sites : Number of sites, a cube number for an even filling.
    n_types : Number of bead types, in turn.
    cutoff : Largest distance [nm]; less than half the box length.
    seed : Seed of the displacements from a cubic lattice.
    dtype : Precision of the pair vectors.
    density : Number density [1/nm³]; the default is liquid methanol.

    Raises
    ------
    AssertionError : the cutoff is too long for the box.
    """
    length = (n_sites / density) ** (1.0 / 3.0)
    assert cutoff < 0.5 * length, f"cutoff {cutoff} nm needs a box longer than {length:.3f} nm"
    n_edge = round(n_sites ** (1.0 / 3.0) + 0.49)
    spacing = length / n_edge
    grid = torch.cartesian_prod(*[torch.arange(n_edge, dtype=torch.float64)] * 3)[:n_sites] * spacing
    generator = torch.Generator().manual_seed(seed)
    positions = grid + 0.3 * spacing * (torch.rand(n_sites, 3, generator=generator, dtype=torch.float64) - 0.5)
    vectors = positions[None] - positions[:, None]
    vectors = vectors - length * torch.round(vectors / length)
    near = torch.linalg.vector_norm(vectors, dim=2) < cutoff
    near.fill_diagonal_(False)
    first, second = torch.nonzero(near, as_tuple=True)
    return NetworkInput(
        types=torch.arange(n_sites) % n_types,
        pair_index=torch.stack([first, second]),
        pair_vectors=vectors[first, second].to(dtype),
        bond_class=torch.zeros(len(first), dtype=torch.int64),
    )


def join(systems: list[NetworkInput]) -> NetworkInput:
    """Return several systems as one batch."""
    starts = torch.tensor([0] + [len(system.types) for system in systems]).cumsum(0).tolist()
    return NetworkInput(
        types=torch.cat([system.types for system in systems]),
        pair_index=torch.cat(
            [system.pair_index + start for system, start in zip(systems, starts, strict=False)], dim=1
        ),
        pair_vectors=torch.cat([system.pair_vectors for system in systems]),
        bond_class=torch.cat([system.bond_class for system in systems]),
    )


def check_network(network: AbstractNetwork, n_types: int, *, seed: int = 0, spacing: float = 0.3) -> None:
    """Raise AssertionError, naming the claim, unless a network keeps its contract.

    Parameters
    ----------
    network : Network with random weights, on the CPU; it is not changed.
    n_types : Number of bead types it was built for.
    seed : Seed of the random clusters.
    spacing : Smallest distance between test sites [nm]; inside the range of the radial functions.

    Raises
    ------
    AssertionError : a claim does not hold.
    """
    network = copy.deepcopy(network).double().requires_grad_(True)
    cluster = build_cluster(12, n_types, seed=seed, spacing=spacing)
    checks = (
        _check_invariance,
        _check_permutation,
        _check_batching,
        _check_empty_pair_list,
        _check_pair_gradient,
        _check_forces_by_finite_difference,
        _check_cutoff,
        _check_parameter_gradient,
        _check_precisions,
        _check_configuration,
    )
    for check in checks:
        check(network, cluster)


def evaluate(
    network: AbstractNetwork, system: NetworkInput, weights: Tensor | None = None, *, create_graph: bool = False
) -> tuple[Tensor, Tensor]:
    """Return what `pair_gradient` says; all channels have weight one by default."""
    if weights is None:
        weights = torch.ones(len(system.types), network.n_channels, dtype=system.pair_vectors.dtype)
    return network.pair_gradient(
        system.types, system.pair_index, system.pair_vectors, system.bond_class, weights, create_graph=create_graph
    )


def site_energies(network: AbstractNetwork, system: NetworkInput) -> Tensor:
    """Return the site energies of all channels from `forward`, without a graph."""
    with torch.no_grad():
        return network(system.types, system.pair_index, system.pair_vectors, system.bond_class)


def _assert_close(found: Tensor, expected: Tensor, tolerance: float, claim: str) -> None:
    """Compare relative to the largest expected value; NaN never passes."""
    assert found.shape == expected.shape, f"{claim}: shape {tuple(found.shape)}, expected {tuple(expected.shape)}"
    if expected.numel() == 0:
        return
    error = float((found - expected).detach().abs().max())
    scale = float(expected.detach().abs().max())
    assert error <= tolerance * scale, f"{claim}: difference {error:.3g}, largest value {scale:.3g}"


def _check_invariance(network: AbstractNetwork, cluster: Cluster) -> None:
    generator = torch.Generator().manual_seed(1)
    rotation, _ = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))
    rotation = rotation * torch.det(rotation)
    moved = replace(cluster, positions=cluster.positions @ rotation.T + torch.tensor([1.0, -2.0, 0.5]))
    _assert_close(
        site_energies(network, moved.pairs(network.cutoff)),
        site_energies(network, cluster.pairs(network.cutoff)),
        1e-10,
        "energies do not change when the cluster is rotated and moved",
    )


def _check_permutation(network: AbstractNetwork, cluster: Cluster) -> None:
    n_molecules = len(cluster.types) // 2
    order = torch.randperm(n_molecules, generator=torch.Generator().manual_seed(2))
    order = (2 * order[:, None] + torch.arange(2)).flatten()
    permuted = Cluster(types=cluster.types[order], positions=cluster.positions[order])
    _assert_close(
        site_energies(network, permuted.pairs(network.cutoff)),
        site_energies(network, cluster.pairs(network.cutoff))[order],
        1e-10,
        "site energies follow the sites when molecules are renumbered",
    )


def _check_batching(network: AbstractNetwork, cluster: Cluster) -> None:
    n_types = int(cluster.types.max()) + 1
    systems = [cluster.pairs(network.cutoff), build_cluster(7, n_types, seed=3).pairs(network.cutoff)]
    energies, gradient = evaluate(network, join(systems))
    alone = [evaluate(network, system) for system in systems]
    _assert_close(energies, torch.cat([e for e, _ in alone]), 1e-10, "a batch gives the energies of its systems")
    _assert_close(gradient, torch.cat([g for _, g in alone]), 1e-10, "a batch gives the gradients of its systems")


def _check_empty_pair_list(network: AbstractNetwork, cluster: Cluster) -> None:
    lonely = replace(cluster, positions=cluster.positions * 1e3).pairs(network.cutoff)
    energies, gradient = evaluate(network, lonely, create_graph=True)
    assert gradient.shape == (0, 3), f"a system without pairs has a gradient of shape {tuple(gradient.shape)}"
    assert bool(torch.isfinite(energies).all()), "a system without pairs has energies that are not finite"
    by_type = {int(t): energies[cluster.types == t].detach() for t in cluster.types.unique()}
    for values in by_type.values():
        _assert_close(values, values[:1].expand_as(values), 1e-12, "lonely sites of one type have one energy")


def _check_pair_gradient(network: AbstractNetwork, cluster: Cluster) -> None:
    system = cluster.pairs(network.cutoff)
    generator = torch.Generator().manual_seed(4)
    weights = torch.rand(len(system.types), network.n_channels, generator=generator, dtype=torch.float64)
    vectors = system.pair_vectors.clone().requires_grad_()
    expected = (network(system.types, system.pair_index, vectors, system.bond_class) * weights).sum(1)
    (expected_gradient,) = torch.autograd.grad(expected.sum(), vectors)
    for create_graph in (False, True):
        energies, gradient = evaluate(network, system, weights, create_graph=create_graph)
        assert energies.requires_grad == create_graph, "site energies carry a graph exactly if one is asked for"
        assert gradient.requires_grad == create_graph, "the gradient carries a graph exactly if one is asked for"
        _assert_close(energies, expected, 1e-10, "pair_gradient returns the weighted energies of forward")
        _assert_close(gradient, expected_gradient, 1e-10, "pair_gradient equals autograd of forward")


def _check_forces_by_finite_difference(network: AbstractNetwork, cluster: Cluster) -> None:
    system = cluster.pairs(network.cutoff)
    _, gradient = evaluate(network, system)
    slope = torch.zeros_like(cluster.positions).index_add(0, system.pair_index[1], gradient)
    slope = slope.index_add(0, system.pair_index[0], -gradient)
    found = torch.stack([_differentiate(_energy_along(network, cluster, i, a)) for i in range(4) for a in range(3)])
    _assert_close(found, slope[:4].flatten(), 1e-6, "forces are minus the slope of the energy")


def _energy_along(network: AbstractNetwork, cluster: Cluster, site: int, axis: int) -> Callable[[float], Tensor]:
    def energy(step: float) -> Tensor:
        positions = cluster.positions.clone()
        positions[site, axis] += step
        return site_energies(network, replace(cluster, positions=positions).pairs(network.cutoff)).sum()

    return energy


def _differentiate(function: Callable[[float], Tensor], step: float = _STEP) -> Tensor:
    """Return the slope at zero by central differences of fourth order."""
    near = function(step) - function(-step)
    far = function(2.0 * step) - function(-2.0 * step)
    return (8.0 * near - far) / (12.0 * step)


def _check_cutoff(network: AbstractNetwork, cluster: Cluster) -> None:
    _, typical = evaluate(network, cluster.pairs(network.cutoff))
    scale = float(typical.abs().max())
    for distance, tolerance in ((1.0 - 1e-6, 1e-4), (1.0, 1e-12), (1.01, 0.0)):
        vector = torch.tensor([[0.6, 0.8, 0.0]], dtype=torch.float64) * network.cutoff * distance
        pair = NetworkInput(
            types=cluster.types[:2],
            pair_index=torch.tensor([[0, 1], [1, 0]]),
            pair_vectors=torch.cat([vector, -vector]),
            bond_class=torch.zeros(2, dtype=torch.int64),
        )
        apart = replace(
            pair, pair_index=pair.pair_index[:, :0], pair_vectors=vector[:0], bond_class=pair.bond_class[:0]
        )
        _, gradient = evaluate(network, pair)
        difference = (site_energies(network, pair) - site_energies(network, apart)).abs().max()
        claim = f"at {distance} of the cutoff"
        assert float(gradient.abs().max()) <= tolerance * scale, f"force has not vanished {claim}"
        assert float(difference) <= tolerance * scale * network.cutoff, f"energy has not vanished {claim}"


def _check_parameter_gradient(network: AbstractNetwork, cluster: Cluster) -> None:
    system = cluster.pairs(network.cutoff)
    generator = torch.Generator().manual_seed(6)
    on_energies = torch.randn(len(system.types), generator=generator, dtype=torch.float64)
    on_gradient = torch.randn(system.pair_vectors.shape, generator=generator, dtype=torch.float64)
    weights = torch.rand(len(system.types), network.n_channels, generator=generator, dtype=torch.float64)

    def loss(create_graph: bool) -> Tensor:
        energies, gradient = evaluate(network, system, weights, create_graph=create_graph)
        return (energies * on_energies).sum() + ((gradient - on_gradient) ** 2).sum()

    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    gradients = torch.autograd.grad(loss(True), parameters, allow_unused=True)
    for (name, parameter), gradient in zip(network.named_parameters(), gradients, strict=True):
        direction = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        start = parameter.detach().clone()

        def shifted(
            step: float, parameter: Tensor = parameter, start: Tensor = start, way: Tensor = direction
        ) -> Tensor:
            parameter.data = start + step * way
            return loss(False)

        slope = _differentiate(shifted)
        parameter.data = start
        found = torch.zeros((), dtype=torch.float64) if gradient is None else (gradient * direction).sum()
        error, scale = abs(float(found - slope)), abs(float(slope)) + 1e-3 * float(loss(False))
        assert error <= 1e-6 * scale, f"gradient of parameter {name} is {float(found):.6g}, slope is {float(slope):.6g}"


def _check_precisions(network: AbstractNetwork, cluster: Cluster) -> None:
    system = cluster.pairs(network.cutoff)
    energies, gradient = evaluate(copy.deepcopy(network).float(), system.to(torch.float32))
    assert energies.dtype == gradient.dtype == torch.float32, "results have the precision of the input"
    expected, expected_gradient = evaluate(network, system)
    # a few hundred roundings of float32 (6e-8 each), amplified where large terms cancel
    _assert_close(energies.double(), expected, 1e-5, "energies agree in both precisions")
    _assert_close(gradient.double(), expected_gradient, 5e-5, "gradients agree in both precisions")


def _check_configuration(network: AbstractNetwork, cluster: Cluster) -> None:
    system = cluster.pairs(network.cutoff)
    copied = type(network).from_config(network.to_config()).double()
    copied.load_state_dict(network.state_dict())
    _assert_close(
        site_energies(copied, system),
        site_energies(network, system),
        0.0,
        "configuration and weights are all that a network consists of",
    )
