"""Forces from a padded neighbour list: what a captured step needs of a force field, in operations of fixed shape.

The readable twin is `beadsmith.energy.predict`, which also gives energy and virial; here only forces are computed.
"""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from beadsmith.batch import Batch
from beadsmith.energy import AbstractEnergyTerm, EnergyModel, hide_excluded, spread_weights
from beadsmith.neighbors import build_skin_list
from beadsmith.priors.pair_terms import AbstractPairTerm
from beadsmith.priors.tabulated import START, STEP, TabulatedPairs
from beadsmith.priors.volume import VolumeTerm
from beadsmith.simulation.static_list import PaddedPairs, SearchPlan


def find_obstacle(force_field: EnergyModel) -> str | None:
    """Return why forces cannot be computed in operations of fixed shape, or None if they can."""
    network = force_field.network
    if network is not None and not network.takes_longer_lists:
        return f"the network '{network.kind}' takes no pairs beyond its cutoff"
    for term in force_field.prior:
        if not isinstance(term, TabulatedPairs) and (term.cutoff > 0.0 or isinstance(term, AbstractPairTerm)):
            return f"the prior term '{term.kind}' has no table"
    return None


class StaticForces:
    """The force field with everything looked up that depends on the system, not on positions."""

    def __init__(self, force_field: EnergyModel, system: Batch, plan: SearchPlan) -> None:
        """Put all numbers on the system's device.

        Parameters
        ----------
        force_field : Prior, with tables for its pair terms, and network; see `find_obstacle`.
        system : Replicas of one system.
        plan : Gives the shape of the neighbour lists.
        """
        like = system.positions
        terms = list(force_field.prior)
        self._tables = [_Table(term, like) for term in terms if isinstance(term, TabulatedPairs)]
        # a term of the volume has no force
        self._others: list[AbstractEnergyTerm] = [t for t in terms if not isinstance(t, TabulatedPairs | VolumeTerm)]
        self._network, self._system, self._plan = force_field.network, system, plan
        self._no_pairs = build_skin_list(system, 0.0, 1.0).pairs
        self._first = torch.arange(system.n_sites, device=like.device).repeat_interleave(plan.capacity)
        # beyond every cutoff, where all functions of distance are exact zeros
        cutoffs = [term.cutoff for term in terms] + ([] if self._network is None else [self._network.cutoff])
        self._far = like.new_tensor([2.0 * max(cutoffs) + 1.0, 0.0, 0.0])
        self._cell = system.cell
        self._form = force_field.thermal_form
        if self._network is not None:
            self._weights = like.new_ones(system.n_sites, self._network.n_channels)
            self.heat(system)

    def heat(self, system: Batch) -> None:
        """Take the temperature of every replica, in place; it matters where the potential depends on it."""
        if self._network is not None and self._form.depends_on_temperature:
            self._weights.copy_(spread_weights(self._form.free_energy_weights(system.temperature), system))

    def compute(self, positions: Float[Tensor, "sites 3"], pairs: PaddedPairs) -> Float[Tensor, "sites 3"]:
        """Return the forces of all replicas [kJ/mol/nm].

        Parameters
        ----------
        positions : Wrapped positions as in `Batch.positions` [nm].
        pairs : Padded pairs that cover them.
        """
        vectors = self._find_vectors(positions, pairs)
        forces = torch.zeros_like(positions)
        types = self._system.types
        for table in self._tables:
            pulls = table.pull(vectors, types[self._first], types[pairs.second], pairs.bond_class)
            forces = forces + pulls.view(len(positions), -1, 3).sum(1)
        for term in self._others:
            forces = forces + self._differentiate(term, positions)
        if self._network is not None:
            index = torch.stack([self._first, pairs.second])
            seen = hide_excluded(self._network, vectors, pairs.bond_class)
            _, gradient = self._network.pair_gradient(self._system.types, index, seen, pairs.bond_class, self._weights)
            forces = forces + gradient.view(len(positions), -1, 3).sum(1)
            forces = forces.index_add(0, pairs.second, -gradient)
        return forces

    def _find_vectors(self, positions: Tensor, pairs: PaddedPairs) -> Tensor:
        vectors = positions.index_select(0, pairs.second) - positions.index_select(0, self._first)
        if self._cell is not None:
            shifts = pairs.shifts.view(len(self._cell), -1, 3)
            vectors = vectors + (shifts @ self._cell).view(-1, 3)
        return torch.where(pairs.is_used[:, None], vectors, self._far)

    def _differentiate(self, term: AbstractEnergyTerm, positions: Tensor) -> Tensor:
        with torch.enable_grad():
            moved = positions.detach().requires_grad_()
            energy = term(replace(self._system, positions=moved), self._no_pairs).sum()
            (gradient,) = torch.autograd.grad(energy, moved)
        return -gradient


class _Table:
    """The tables of `TabulatedPairs` on a device."""

    def __init__(self, tabulated: TabulatedPairs, like: Tensor) -> None:
        self._numbers = torch.from_numpy(tabulated.numbers).to(like.device)
        self._n_intervals = tabulated.coefficients.shape[1]
        self._coefficients = torch.from_numpy(tabulated.coefficients).to(like).reshape(-1, 4)

    def pull(self, vectors: Tensor, first_type: Tensor, second_type: Tensor, bond_class: Tensor) -> Tensor:
        """Return the force on the first site of each directed pair [kJ/mol/nm], shape (pairs, 3)."""
        number = self._numbers[first_type, second_type, bond_class]
        distances = torch.linalg.vector_norm(vectors, dim=1)
        x = (distances - START) / STEP
        # a distance that is not a number fails both comparisons, and reaches the force
        interval = torch.where(x >= 1.0, x, 0.0).clamp(max=self._n_intervals - 1).long()
        u = x - interval
        row = number.clamp(min=0) * self._n_intervals + interval
        _, c1, c2, c3 = self._coefficients.index_select(0, row).unbind(1)
        slope = torch.where(u < 0.0, c1, (3.0 * c3 * u + 2.0 * c2) * u + c1) / STEP
        slope = torch.where((number < 0) | (x >= self._n_intervals), 0.0, slope)
        # two sites on one point push in no direction
        return (slope / distances.clamp(min=1e-12))[:, None] * vectors
