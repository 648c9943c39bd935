"""What a force field can tell apart, from its settings alone: bonds, labels, and the two hands of a molecule."""

from dataclasses import asdict, dataclass, field
from typing import Any

from beadsmith.networks.hipnn import HipnnSettings
from beadsmith.networks.kinds import NetworkSettings
from beadsmith.networks.mace import MaceSettings
from beadsmith.priors.settings import PriorSettings
from beadsmith.training.slow_coordinates import CorrectionSettings

BOND_PRIOR = "prior.bonds: harmonic"
PAIR_CLASSES = "network.pair_classes: true"
EXCLUSIONS = "network.exclusions: 1"
DIHEDRAL_PRIOR = "prior.dihedrals: fourier"
IMPROPER_PRIOR = "prior.impropers: harmonic"
ROTATIONS = "network.symmetry: SO(3)"
ROTATIONS_ONLY = "network: {kind: mace, symmetry: SO(3), l_max_hidden: 2, n_layers: 3}"
CORRECTION = "training.correction"
REPULSION = "prior.repulsion: tangent"
GRAPH_TYPES = "mapping.types: graph"
"""The keys of the configuration that cure a map, as messages name them."""


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """The parts of a configuration that say what a force field can tell apart."""

    network: NetworkSettings | None = field(default_factory=HipnnSettings)
    """The learned part of the force field; its kind is hipnn, schnet or mace, or none."""
    prior: PriorSettings = field(default_factory=PriorSettings)
    """Bonded terms and excluded volume."""


@dataclass(frozen=True, kw_only=True)
class ModelKnowledge:
    """What a force field can tell apart."""

    network: str
    """Kind of the network, or ``"none"``."""
    sees_hands: bool
    """Whether the network has another energy for mirror images."""
    finds_hands: bool
    """Whether it does so clearly enough from the start to learn it: MACE with tensors and three layers."""
    sees_bonds: bool
    """Whether the network knows how two beads are bonded."""
    has_bond_prior: bool
    """Whether bonds between given beads are held by the prior."""
    excludes_bonds: bool
    """Whether bonded pairs do not enter the network, so that it has no well for them."""
    has_sine_prior: bool
    """Whether the prior has terms that are odd in a dihedral."""
    has_signed_impropers: bool
    """Whether the prior has terms that are odd in an improper, where a molecule has any."""
    holds_impropers: bool
    """Whether the prior holds the sign of an improper, where a molecule has any."""
    corrected: tuple[str, ...]
    """Slow coordinates of a correction, which may be odd in dihedrals."""
    has_repulsion: bool
    """Whether beads repel each other where there are no data, or no network needs it."""

    @property
    def bond_cures(self) -> tuple[str, ...]:
        """The settings by which the force field knows which beads are bonded; empty if it does not."""
        if self.excludes_bonds and not self.has_bond_prior:
            # the network leaves bonds to a prior that has none: nothing would hold them
            return ()
        known = ((self.has_bond_prior, BOND_PRIOR), (self.excludes_bonds, EXCLUSIONS), (self.sees_bonds, PAIR_CLASSES))
        return tuple(name for is_set, name in known if is_set)

    def to_json(self) -> dict[str, Any]:
        """Return the knowledge as a JSON-ready dictionary."""
        return asdict(self)


def describe_model(settings: ModelSettings, correction: CorrectionSettings | None = None) -> ModelKnowledge:
    """Return what a force field with these settings will be able to tell apart.

    A network of distances and angles, and MACE with O(3) symmetry, has one energy for both hands of a molecule. With
    SO(3) symmetry, a hundred times less of the energy depends on the hand in two layers of vectors than in three layers
    of tensors, and training hardly finds it (``docs/explanation/mace.md``).
    """
    network, prior = settings.network, settings.prior
    handed = network if isinstance(network, MaceSettings) and network.symmetry == "SO(3)" else None
    return ModelKnowledge(
        network="none" if network is None else network.kind,
        sees_hands=handed is not None,
        finds_hands=handed is not None and handed.l_max_hidden == 2 and handed.n_layers == 3,
        sees_bonds=network is not None and network.pair_classes,
        has_bond_prior=prior.bonds != "none",
        excludes_bonds=network is not None and network.exclusions > 0,
        has_sine_prior=prior.dihedrals == "fourier",
        has_signed_impropers=prior.impropers in ("harmonic", "fourier"),
        holds_impropers=prior.impropers == "harmonic",
        corrected=() if correction is None else correction.coordinates,
        has_repulsion=prior.repulsion != "none" or network is None,
    )
