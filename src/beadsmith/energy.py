"""The contracts of networks and energy terms, and the one function that turns them into forces and virials."""

import copy
import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import reduce
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from beadsmith.batch import Batch, Pairs, Prediction
from beadsmith.errors import BeadsmithError
from beadsmith.kernels.pair_sums import sum_forces, sum_virial
from beadsmith.neighbors import BOND, find_vectors, pairs_within
from beadsmith.thermal_form import ThermalForm

_FUSED_TOLERANCE = {torch.float32: 2e-5, torch.float64: 1e-10}
"""Largest rounding error of forces, relative to the largest force of a frame, unless plain torch rounds worse."""


class AbstractNetwork(nn.Module, ABC):
    """Map neighbour vectors to site energies; knows no engine, no cell and no temperature."""

    kind: ClassVar[str]
    """Name of the class in files and settings."""
    takes_longer_lists: ClassVar[bool] = False
    """Whether pairs beyond the cutoff may be passed: they then add exact zeros, and cutting them away is saved."""
    is_fused: bool = True
    """Whether `pair_gradient` may use compiled sweeps; without, it differentiates `forward`."""
    cutoff: float
    """Largest distance that matters [nm]; energy and force vanish there."""
    n_channels: int
    """Number of output channels per site."""
    exclusions: int = 0
    """Pairs of one molecule this many bonds apart or fewer are hidden from the network by whoever calls it."""

    @abstractmethod
    def forward(
        self,
        types: Int[Tensor, "sites"],
        pair_index: Int[Tensor, "2 pairs"],
        pair_vectors: Float[Tensor, "pairs 3"],
        pair_bond_class: Int[Tensor, "pairs"],
    ) -> Float[Tensor, "sites channels"]:
        """Return site energies [kJ/mol] of each channel; pairs are directed and sorted by first site."""

    def pair_gradient(
        self,
        types: Int[Tensor, "sites"],
        pair_index: Int[Tensor, "2 pairs"],
        pair_vectors: Float[Tensor, "pairs 3"],
        pair_bond_class: Int[Tensor, "pairs"],
        channel_weights: Float[Tensor, "sites channels"],
        *,
        create_graph: bool = False,
    ) -> tuple[Float[Tensor, "sites"], Float[Tensor, "pairs 3"]]:
        """Return channel-weighted site energies [kJ/mol] and dE/d(pair vectors) [kJ/mol/nm].

        With `create_graph` both results can be differentiated once with respect to the parameters. Fused networks
        override this method with an explicit adjoint.
        """
        return differentiate_pairs(
            lambda vectors: self(types, pair_index, vectors, pair_bond_class),
            pair_vectors,
            channel_weights,
            create_graph=create_graph,
        )

    @abstractmethod
    def to_config(self) -> dict[str, Any]:
        """Return the constructor's arguments as JSON."""

    @classmethod
    @abstractmethod
    def from_config(cls, config: dict[str, Any]) -> "AbstractNetwork":
        """Return a network of the given architecture; weights are loaded afterwards."""


def differentiate_pairs(
    evaluate: Callable[[Tensor], Tensor],
    pair_vectors: Float[Tensor, "pairs 3"],
    channel_weights: Float[Tensor, "sites channels"],
    *,
    create_graph: bool,
) -> tuple[Float[Tensor, "sites"], Float[Tensor, "pairs 3"]]:
    """Return what `AbstractNetwork.pair_gradient` does by automatic differentiation.

    Parameters
    ----------
    evaluate : Maps pair vectors to site energies (sites, channels).
    """
    with torch.enable_grad():
        vectors = pair_vectors.detach().requires_grad_()
        energies = (evaluate(vectors) * channel_weights).sum(1)
        (gradient,) = torch.autograd.grad(energies.sum(), vectors, create_graph=create_graph)
    return (energies if create_graph else energies.detach()), gradient


class AbstractEnergyTerm(nn.Module, ABC):
    """One term of a prior: a pair or bonded energy with fixed parameters."""

    kind: ClassVar[str]
    """Name of the class in files and settings."""
    cutoff: float
    """Largest pair distance that matters [nm]; 0 for terms of bonded sites only."""

    @abstractmethod
    def forward(self, batch: Batch, pairs: Pairs) -> Float[Tensor, "sites"]:
        """Return site energies [kJ/mol]; a term of several sites counts at its first.

        Pair terms sum over ``pairs.half`` and ignore pairs beyond their own cutoff. The result must be differentiable
        with respect to ``batch.positions`` and ``batch.cell``.
        """

    def predict(self, batch: Batch, pairs: Pairs) -> Prediction:
        """Return what the term alone predicts, without a graph; see `predict_prior`.

        This differentiates `forward`, the readable twin. Terms that know their gradient override it: energies are sums
        in float64, forces have the precision of the positions, and the virial is symmetric, −Σ R ⊗ dE/dr over sites r
        and the centres R of their molecules (see `find_centre_offsets`); a term inside one molecule adds zero to it.
        """
        return _differentiate([self], batch, pairs)

    @abstractmethod
    def to_config(self) -> dict[str, Any]:
        """Return the constructor's arguments as JSON."""

    @classmethod
    @abstractmethod
    def from_config(cls, config: dict[str, Any]) -> "AbstractEnergyTerm":
        """Return a term of the given shape; coefficients are loaded afterwards."""


@runtime_checkable
class EnergyModel(Protocol):
    """What `predict` needs of a force field."""

    @property
    def prior(self) -> Iterable[AbstractEnergyTerm]:
        """The fixed terms."""

    @property
    def network(self) -> AbstractNetwork | None:
        """The learned part, or None."""

    @property
    def thermal_form(self) -> ThermalForm:
        """How the network's channels depend on temperature."""


def predict(
    force_field: EnergyModel,
    batch: Batch,
    pairs: Pairs,
    channel_weights: Float[Tensor, "sites channels"] | None = None,
    *,
    create_graph: bool = False,
) -> Prediction:
    """Return energy, forces and molecular virial of a batch: the only source of forces in beadsmith.

    Parameters
    ----------
    force_field : Prior terms and network.
    batch : Systems; where the network's channels depend on temperature, each has the potential of its own temperature.
    pairs : Their pairs; lists longer than the cutoffs (Verlet skin) are allowed.
    channel_weights : Weight of each network channel at each site; those of the free energy W(R;T) if None.
    create_graph : Keep the graph of the network's part for a gradient with respect to its parameters.
        The prior is fixed and never carries a graph.
    """
    prediction = predict_prior(list(force_field.prior), batch, pairs)
    if force_field.network is None:
        return prediction
    if channel_weights is None and force_field.thermal_form.depends_on_temperature:
        channel_weights = spread_weights(force_field.thermal_form.free_energy_weights(batch.temperature), batch)
    return add_predictions(
        prediction, predict_network(force_field.network, batch, pairs, channel_weights, create_graph=create_graph)
    )


def spread_weights(weights: Float[Tensor, "systems channels"], batch: Batch) -> Float[Tensor, "sites channels"]:
    """Return the channel weights of each site from those of its system, in the precision of the positions."""
    return weights.to(batch.positions.dtype).index_select(0, batch.system_index)


def predict_network(
    network: AbstractNetwork,
    batch: Batch,
    pairs: Pairs,
    channel_weights: Float[Tensor, "sites channels"] | None = None,
    *,
    create_graph: bool = False,
) -> Prediction:
    """Return the network's part of the prediction.

    With g = dE/d(pair vector): F_i = Σ g(pairs from i) − Σ g(pairs to i), virial = −Σ D ⊗ g with D the vector between
    the centres of the two molecules.
    """
    vectors = hide_excluded(network, find_vectors(batch, pairs), pairs.bond_class)
    if not network.takes_longer_lists and (pairs.cutoff > network.cutoff or network.exclusions):
        pairs, kept = pairs_within(pairs, vectors, network.cutoff)
        vectors = vectors.index_select(0, kept)
    weights = batch.positions.new_ones(1, network.n_channels) if channel_weights is None else channel_weights
    energies, gradient = network.pair_gradient(
        batch.types,
        pairs.index,
        vectors,
        pairs.bond_class,
        weights.expand(batch.n_sites, network.n_channels),
        create_graph=create_graph,
    )
    if batch.cell is None and count_molecules(batch) == batch.n_systems:
        # forces within a molecule do not move its centre
        virial = torch.zeros(batch.n_systems, 3, 3, dtype=torch.float64, device=vectors.device)
    else:
        offsets = find_centre_offsets(batch)
        virial = sum_virial(vectors, gradient, pairs.index, offsets, batch.system_index, batch.n_systems)
    return Prediction(
        energy=_sum_by_system(energies, batch.system_index, batch.n_systems),
        forces=sum_forces(pairs.index, gradient, batch.n_sites),
        virial=0.5 * (virial + virial.transpose(1, 2)),
    )


def hide_excluded(
    network: AbstractNetwork, vectors: Float[Tensor, "pairs 3"], bond_class: Int[Tensor, "pairs"]
) -> Float[Tensor, "pairs 3"]:
    """Return pair vectors of which those that a network excludes lie beyond its cutoff.

    There energies and slopes are exact zeros, so the network is one that has never met these pairs. Shapes stay as they
    are: a captured GPU step may not ask how many pairs are left. Without exclusions the vectors come back untouched.
    """
    if not network.exclusions:
        return vectors
    is_hidden = (bond_class >= BOND) & (bond_class <= network.exclusions)
    return vectors.masked_fill(is_hidden[:, None], 2.0 * network.cutoff)


@torch.no_grad()
def trust_fused(network: AbstractNetwork, batch: Batch, pairs: Pairs) -> float:
    """Compare the forces of compiled sweeps with those of plain torch; where they disagree, use plain torch and warn.

    Compilers have been seen to produce wrong forces without a word, on some machines and versions only, and Triton
    needs a C compiler that a machine may lack. Call this with a real frame before a force field is used.

    Returns
    -------
    The largest difference relative to the largest force: 0 if no sweep is compiled, inf if none can be.
    """
    if not network.is_fused:
        return 0.0
    network.is_fused = False
    expected = predict_network(network, batch, pairs).forces.double()
    network.is_fused = True
    try:
        found = predict_network(network, batch, pairs).forces.double()
    except BeadsmithError:
        raise
    except Exception as problem:  # whatever a compiler raises
        network.is_fused = False
        warnings.warn(
            f"the sweeps of '{network.kind}' cannot be compiled here ({problem}): using plain torch, which is slower",
            stacklevel=2,
        )
        return math.inf
    largest = float(expected.abs().max())
    error = float((found - expected).abs().max()) / largest if largest > 0.0 else float(found.abs().max())
    tolerance = _FUSED_TOLERANCE[batch.positions.dtype]
    # written so that an error that is not a number counts as one
    if not error <= tolerance and not error <= 3.0 * _measure_rounding(network, batch, pairs, expected):
        network.is_fused = False
        warnings.warn(
            f"compiled forces of '{network.kind}' differ from plain torch by {error:.1e} of the largest force: using "
            "plain torch, which is slower. Please report this with the versions of numba, torch and the processor",
            stacklevel=2,
        )
    return error


def _measure_rounding(network: AbstractNetwork, batch: Batch, pairs: Pairs, forces: Tensor) -> float:
    """Return the error of plain torch's own forces against float64, relative to the largest force.

    Where a network's forces nearly cancel, as with few features and random weights, single precision cannot do better.
    """
    if batch.positions.dtype == torch.float64:
        return 0.0
    exact = copy.deepcopy(network).double()
    exact.is_fused = False
    precise = replace(
        batch,
        positions=batch.positions.double(),
        masses=batch.masses.double(),
        cell=None if batch.cell is None else batch.cell.double(),
    )
    expected = predict_network(exact, precise, replace(pairs, shifts=pairs.shifts.double())).forces
    return float((forces - expected).abs().max() / expected.abs().max())


def predict_prior(terms: list[AbstractEnergyTerm], batch: Batch, pairs: Pairs) -> Prediction:
    """Return what the fixed terms alone predict, without a graph.

    Terms with a `predict` of their own are asked for it; all others are differentiated automatically in one go. The
    virial is −dE/dε under r → r + R_molecule ε, cell → cell (1 + ε), symmetrised.
    """
    plain = [term for term in terms if type(term).predict is AbstractEnergyTerm.predict]
    parts = [_differentiate(plain, batch, pairs)] if plain or not terms else []
    parts += [term.predict(batch, pairs) for term in terms if type(term).predict is not AbstractEnergyTerm.predict]
    return reduce(add_predictions, parts)


def add_predictions(one: Prediction, other: Prediction) -> Prediction:
    """Return the sum of two parts of a prediction."""
    return Prediction(
        energy=one.energy + other.energy, forces=one.forces + other.forces, virial=one.virial + other.virial
    )


def _differentiate(terms: list[AbstractEnergyTerm], batch: Batch, pairs: Pairs) -> Prediction:
    """Return the prediction of several terms from automatic differentiation of their `forward`."""
    n_systems, dtype, device = batch.n_systems, batch.positions.dtype, batch.positions.device
    if not terms:
        zeros = torch.zeros(n_systems, 4, 3, dtype=torch.float64, device=device)
        return Prediction(energy=zeros[:, 3, 0], forces=torch.zeros_like(batch.positions), virial=zeros[:, :3])
    with torch.enable_grad():
        positions = batch.positions.detach().requires_grad_()
        strain = torch.zeros(n_systems, 3, 3, dtype=dtype, device=device, requires_grad=True)
        centres = molecule_centres(batch).index_select(0, batch.molecule_index)
        moved = positions + torch.einsum("sa,sab->sb", centres, strain.index_select(0, batch.system_index))
        cell = None if batch.cell is None else batch.cell + batch.cell @ strain
        strained = replace(batch, positions=moved, cell=cell)
        site_energies = torch.stack([term(strained, pairs) for term in terms]).sum(0)
        gradient, stress = torch.autograd.grad(site_energies.sum(), (positions, strain))
    virial = -stress.double()
    return Prediction(
        energy=_sum_by_system(site_energies.detach(), batch.system_index, n_systems),
        forces=-gradient,
        virial=0.5 * (virial + virial.transpose(1, 2)),
    )


def count_molecules(batch: Batch) -> int:
    """Return the number of molecules in all systems."""
    return int(batch.molecule_index[-1]) + 1


def molecule_centres(batch: Batch) -> Float[Tensor, "molecules 3"]:
    """Return the centre of mass of each molecule [nm]; molecules must be whole."""
    n_molecules = count_molecules(batch)
    if n_molecules == batch.n_sites:
        return batch.positions.detach()
    weighted = batch.masses[:, None] * batch.positions.detach()
    sums = torch.zeros(n_molecules, 3, dtype=weighted.dtype, device=weighted.device)
    sums = sums.index_add(0, batch.molecule_index, weighted)
    masses = torch.zeros_like(sums[:, 0]).index_add(0, batch.molecule_index, batch.masses)
    return sums / masses[:, None]


def find_centre_offsets(batch: Batch) -> Float[Tensor, "sites 3"] | None:
    """Return the centre of each site's molecule minus the site [nm], or None if every site is a molecule."""
    centres = molecule_centres(batch)
    if len(centres) == batch.n_sites:
        return None
    return centres.index_select(0, batch.molecule_index) - batch.positions.detach()


def _sum_by_system(values: Tensor, system_index: Tensor, n_systems: int) -> Tensor:
    """Sum site values of each system in float64."""
    # float64: a float32 sum over thousands of sites loses the digits that an energy drift is read from
    return torch.zeros(n_systems, dtype=torch.float64, device=values.device).index_add(0, system_index, values.double())
