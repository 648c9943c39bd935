"""The force field: prior terms, network and everything another program needs to use it, without a pickle.

A force field is a folder: ``force_field.json`` (architecture, bead templates, provenance) and
``weights.safetensors`` (numbers). The JSON names the hash of the weights, so a torn write is noticed.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import nn

from beadsmith.batch import Batch, Pairs, Prediction
from beadsmith.energy import AbstractEnergyTerm, AbstractNetwork, predict
from beadsmith.errors import InputError
from beadsmith.io.records import hash_file, read_json, replacing, topology_from_json, topology_to_json, write_json
from beadsmith.networks.kinds import NETWORKS
from beadsmith.networks.typed_network import AbstractTypedNetwork
from beadsmith.priors.bonded_splines import AngleSpline, BondSpline
from beadsmith.priors.coordinate_series import CoordinateSeries
from beadsmith.priors.fourier import FourierDihedrals, FourierImpropers
from beadsmith.priors.harmonic import HarmonicAngles, HarmonicBonds, HarmonicImpropers
from beadsmith.priors.repulsion import ExponentialRepulsion
from beadsmith.priors.splines import PairSpline
from beadsmith.priors.volume import VolumeTerm
from beadsmith.thermal_form import ThermalForm
from beadsmith.topology import Topology, group_equal_molecules
from beadsmith.trajectory import StatePoint

FORMAT_VERSION = 2
"""Written; version 1, without a thermal form, is read as well."""

_TERMS: dict[str, type[AbstractEnergyTerm]] = {
    "angle_spline": AngleSpline,
    "bond_spline": BondSpline,
    "coordinate_series": CoordinateSeries,
    "exponential_repulsion": ExponentialRepulsion,
    "fourier_dihedrals": FourierDihedrals,
    "fourier_impropers": FourierImpropers,
    "harmonic_angles": HarmonicAngles,
    "harmonic_bonds": HarmonicBonds,
    "harmonic_impropers": HarmonicImpropers,
    "pair_spline": PairSpline,
    "volume": VolumeTerm,
}


@dataclass(frozen=True, kw_only=True)
class ForceFieldRecord:
    """What a force field knows besides its numbers."""

    templates: tuple[Topology, ...]
    """One molecule of each kind at bead resolution; all share the same bead types."""
    state_points: tuple[StatePoint, ...]
    """State points of the training data."""
    shortest_distances: dict[str, float] = field(default_factory=dict)
    """Smallest reference distance of each unordered type pair ``"a-b"`` [nm]."""
    mapping_summary: dict[str, Any] = field(default_factory=dict)
    """How atoms became beads."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """Versions, losses, seed and settings of the training."""

    def __post_init__(self) -> None:
        """Check that the templates agree.

        Raises
        ------
        InputError : no template, or templates with different bead types.
        """
        if not self.templates:
            raise InputError("a force field needs at least one molecule template")
        if any(template.type_names != self.templates[0].type_names for template in self.templates):
            raise InputError("the molecule templates of a force field must share one list of bead types")


class ForceField(nn.Module):
    """A coarse-grained force field: fixed prior terms plus an optional network.

    The thermal form adds up the channels of the network, with weights that may depend on temperature. The prior does
    not depend on it: all of it is energy, none of it entropy.
    """

    def __init__(
        self,
        prior: list[AbstractEnergyTerm],
        network: AbstractNetwork | None,
        record: ForceFieldRecord,
        thermal_form: ThermalForm | None = None,
    ) -> None:
        """Put the parts together.

        Parameters
        ----------
        prior : Fixed energy terms, possibly none.
        network : Learned part, or None for a classical force field.
        record : Templates, state points and provenance.
        thermal_form : How the network depends on temperature; None if it does not.

        Raises
        ------
        InputError : neither a prior term nor a network is given, or the network has not the channels of the form.
        """
        super().__init__()
        thermal_form = thermal_form or ThermalForm()
        if not prior and network is None:
            raise InputError("a force field needs a prior term or a network")
        n_channels = 1 if network is None else network.n_channels
        if n_channels != thermal_form.n_channels:
            raise InputError(
                f"thermal form '{thermal_form.kind}' needs a network of {thermal_form.n_channels} channels, "
                + ("there is no network" if network is None else f"this one has {n_channels}")
            )
        self.prior: Iterable[AbstractEnergyTerm] = cast("Iterable[AbstractEnergyTerm]", nn.ModuleList(prior))
        self.network = network
        self.record = record
        self.thermal_form = thermal_form

    @property
    def type_names(self) -> tuple[str, ...]:
        """Names of the bead types."""
        return self.record.templates[0].type_names

    @property
    def bead_masses(self) -> np.ndarray:
        """Mass of each bead type [u], shape (n_types,); NaN for a type that no template uses."""
        masses = np.full(len(self.type_names), np.nan)
        for template in self.record.templates:
            masses[template.types] = template.masses
        return masses

    @property
    def cutoff(self) -> float:
        """Largest cutoff of all parts [nm]."""
        cutoffs = [term.cutoff for term in self.prior]
        return float(max(cutoffs + ([] if self.network is None else [self.network.cutoff])))

    @property
    def state_points(self) -> tuple[StatePoint, ...]:
        """State points of the training data."""
        return self.record.state_points

    def forward(self, batch: Batch, pairs: Pairs) -> Prediction:
        """Return energy, forces and virial; see `beadsmith.energy.predict`."""
        return predict(self, batch, pairs)


def fix_temperature(force_field: ForceField, temperature: float | None, *, where: str | None = None) -> ForceField:
    """Return the force field of one temperature: the same prior, and a network whose channels are merged into one.

    Exact, and as fast as a force field that never knew of temperature. One that does not depend on it is returned as it
    is, whatever the temperature.

    Parameters
    ----------
    force_field : Force field; it is not changed.
    temperature : Temperature [K]; None is allowed where it does not matter.
    where : Source of the temperature, for the error message.

    Raises
    ------
    InputError : the force field depends on temperature and none, or none above zero, is given.
    """
    form, network = force_field.thermal_form, force_field.network
    if not form.depends_on_temperature:
        return force_field
    trained = ", ".join(f"{value:g} K" for value in sorted({point.temperature for point in force_field.state_points}))
    if temperature is None or not 0.0 < temperature < float("inf"):
        given = "no temperature is given" if temperature is None else f"temperature is {temperature:g} K, expected > 0"
        raise InputError(
            f"the force field depends on temperature, and {given}", where=where, fix=f"It was trained at {trained}."
        )
    assert isinstance(network, AbstractTypedNetwork)
    weights = form.free_energy_weights(torch.tensor([temperature], dtype=torch.float64))[0]
    return ForceField(list(force_field.prior), network.merge_channels(weights), force_field.record)


def adopt_topology(topology: Topology, force_field: ForceField, *, where: str = "topology") -> Topology:
    """Return a topology with the type numbers and bead masses of a force field, matched by name.

    Parameters
    ----------
    topology : Beads as a file describes them.
    force_field : Knows the bead types and one template of each kind of molecule.
    where : Source of the topology, for the error message.

    Raises
    ------
    InputError : a bead type or a molecule is not one of the force field's.
    """
    known = force_field.type_names
    used = [topology.type_names[index] for index in np.unique(topology.types).tolist()]
    unknown = [name for name in used if name not in known]
    if unknown:
        raise InputError(
            f"bead type '{unknown[0]}' is not in the force field, which knows {', '.join(known)}",
            where=where,
            fix="Use a file with the same beads, as 'beadsmith map' writes it.",
        )
    number = np.array([known.index(name) if name in known else -1 for name in topology.type_names], dtype=np.int64)
    types = number[topology.types]
    adopted = replace(topology, types=types, type_names=known, masses=force_field.bead_masses[types])
    templates = [_describe_molecule(t, np.arange(t.n_sites)) for t in force_field.record.templates]
    for kind in group_equal_molecules(adopted):
        if _describe_molecule(adopted, kind.sites[0]) not in templates:
            raise InputError(
                f"molecule '{kind.name}' has beads or bonds that no molecule template of the force field has",
                where=where,
                fix="Use a file with the same molecules that the force field was trained on.",
            )
    return adopted


def save_force_field(force_field: ForceField, folder: Path) -> None:
    """Write a force field folder; each file is replaced atomically.

    Raises
    ------
    InputError : the folder cannot be written to or the disk is full.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in force_field.state_dict().items()}
    with replacing(folder / "weights.safetensors") as temporary:
        temporary.write_bytes(safetensors.torch.save(weights))
    record = force_field.record
    network = force_field.network
    write_json(
        folder / "force_field.json",
        {
            "format_version": FORMAT_VERSION,
            "weights_sha256": hash_file(folder / "weights.safetensors"),
            "cutoff": force_field.cutoff,
            "prior": [{"kind": term.kind, **term.to_config()} for term in force_field.prior],
            "network": None if network is None else {"kind": network.kind, **network.to_config()},
            "thermal_form": force_field.thermal_form.to_json(),
            "templates": [topology_to_json(template) for template in record.templates],
            "state_points": [asdict(point) for point in record.state_points],
            "shortest_distances": record.shortest_distances,
            "mapping": record.mapping_summary,
            "metadata": record.metadata,
        },
    )


def load_force_field(folder: Path) -> ForceField:
    """Read a force field folder.

    Raises
    ------
    InputError : a file is missing or damaged, the format version is another, or the weights do not fit.
    """
    folder = Path(folder)
    data = read_json(folder / "force_field.json")
    where = f"'{folder}'"
    version = data.get("format_version")
    if version not in (1, FORMAT_VERSION):
        raise InputError(
            f"force field has format version {version}, this beadsmith reads 1 to {FORMAT_VERSION}",
            where=where,
            fix="Use the beadsmith version that wrote it, or train again.",
        )
    weights_file = folder / "weights.safetensors"
    if hash_file(weights_file) != data.get("weights_sha256"):
        raise InputError(
            "the weights do not belong to force_field.json (their hash differs)",
            where=where,
            fix="The folder was copied or written in part: copy it again, or repeat 'beadsmith train'.",
        )
    try:
        record = ForceFieldRecord(
            templates=tuple(topology_from_json(template) for template in data["templates"]),
            state_points=tuple(StatePoint(**point) for point in data["state_points"]),
            shortest_distances=dict(data["shortest_distances"]),
            mapping_summary=dict(data["mapping"]),
            metadata=dict(data["metadata"]),
        )
        prior = [_build(_TERMS, entry) for entry in data["prior"]]
        network = None if data["network"] is None else _build(NETWORKS, data["network"])
        form = ThermalForm(**data["thermal_form"]) if version > 1 else ThermalForm()
        force_field = ForceField(prior, network, record, form)
        weights = safetensors.torch.load_file(weights_file)
        force_field.load_state_dict(_as_stored(force_field, weights))
    except (KeyError, TypeError, ValueError, RuntimeError, safetensors.SafetensorError) as error:
        raise InputError(
            f"the force field is damaged ({error})", where=where, fix="Copy it again or train again."
        ) from error
    return force_field.eval().requires_grad_(False)


def _describe_molecule(topology: Topology, sites: np.ndarray) -> tuple[list[int], list[list[int]]]:
    """Return the types and the bonds, in local numbers, of one molecule."""
    bonds = topology.bonds[np.isin(topology.bonds[:, 0], sites)] - int(sites[0])
    return topology.types[sites].tolist(), sorted(sorted(bond) for bond in bonds.tolist())


def _build(table: dict[str, Any], entry: dict[str, Any]) -> Any:
    config = dict(entry)
    kind = config.pop("kind")
    if kind not in table:
        raise InputError(
            f"this beadsmith knows no part of kind '{kind}' (known: {', '.join(table)})",
            fix="Use the beadsmith version that wrote the force field.",
        )
    return table[kind].from_config(config)


def _as_stored(force_field: ForceField, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Give the freshly built parts the precision of the stored numbers, so that loading changes no digit."""
    modules = dict(force_field.named_modules())
    for name, tensor in weights.items():
        owner, _, leaf = name.rpartition(".")
        target = getattr(modules.get(owner), leaf, None)
        if isinstance(target, torch.Tensor):
            target.data = target.data.to(tensor.dtype)
    return weights
