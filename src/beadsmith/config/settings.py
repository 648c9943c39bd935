"""The settings of one run: the stages' own settings side by side, and what must fit between them."""

import re
from dataclasses import dataclass, field
from typing import Annotated

from beadsmith.analysis.evaluate import EvaluationSettings
from beadsmith.errors import InputError
from beadsmith.importing.settings import ReferenceSettings
from beadsmith.mapping.settings import MappingSettings
from beadsmith.networks.hipnn import HipnnSettings
from beadsmith.networks.kinds import NetworkSettings
from beadsmith.priors.fit import PriorSettings
from beadsmith.sampling.constrained import MeanForceSettings
from beadsmith.sampling.peptides import PeptideSettings
from beadsmith.sampling.settings import SamplingSettings
from beadsmith.sampling.systems import SystemSettings
from beadsmith.simulation.settings import SimulationSettings
from beadsmith.training.ensemble import EnsembleSettings
from beadsmith.training.settings import TrainingSettings
from beadsmith.trajectory import StatePoint
from beadsmith.units import Unit

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")

_DENSITY_OR_PRESSURE = "Give a density for a box of fixed size, or a pressure to let the density adjust."


@dataclass(frozen=True, kw_only=True)
class StateSettings:
    """The thermodynamic state: a temperature, and either a density or a pressure."""

    temperature: Annotated[float, Unit("K")]
    """Temperature."""
    density: Annotated[float, Unit("u/nm**3")] | None = None
    """Mass density of a liquid; give this or a pressure, unless a peptide is sampled or the reference imported."""
    pressure: Annotated[float, Unit("kJ/mol/nm**3")] | None = None
    """Pressure at which a liquid finds its density; give this or a density, unless the reference is imported. A peptide
    takes none, or with solvent tip3p the pressure of its water."""

    def __post_init__(self) -> None:
        """Refuse a state that is not one.

        Raises
        ------
        InputError : temperature or density is not positive, or density and pressure are both given.
        """
        if not self.temperature > 0.0:
            raise InputError(f"temperature is {self.temperature:g} K, expected > 0")
        if self.density is not None and not self.density > 0.0:
            raise InputError(f"density is {self.density:g} u/nm^3, expected > 0")
        if self.density is not None and self.pressure is not None:
            raise InputError(
                "the state needs either a 'density' or a 'pressure', both are given", fix=_DENSITY_OR_PRESSURE
            )

    def to_state_point(self) -> StatePoint:
        """Return the record that travels with the frames."""
        return StatePoint(temperature=self.temperature, density=self.density, pressure=self.pressure)


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """Everything one run depends on."""

    name: str
    """Name of the run; its folder is 'runs/NAME' unless '--output' says otherwise."""
    seed: int = 1
    """Seed of all randomness: the same seed and machine give the same run."""
    system: SystemSettings | PeptideSettings | None = None
    """What is sampled, of kind liquid or peptide; give this or a reference."""
    reference: ReferenceSettings | None = None
    """Files of a simulation that was run elsewhere, instead of a system to sample."""
    state: StateSettings
    """Temperature, and density or pressure."""
    sampling: SamplingSettings = field(default_factory=SamplingSettings)
    """Atomistic reference simulation with OpenMM, or for liquids with GROMACS."""
    mapping: MappingSettings = field(default_factory=MappingSettings)
    """From atoms to beads."""
    mean_force: MeanForceSettings | None = None
    """Averaged labels beside those of the frames, from runs in which the beads are held fixed; none for none."""
    prior: PriorSettings = field(default_factory=PriorSettings)
    """Excluded volume, and the pair-spline force field that the network is compared with."""
    network: NetworkSettings | None = field(default_factory=HipnnSettings)
    """The learned part of the force field; its kind is hipnn, schnet or mace. 'none' leaves the pair splines alone."""
    training: TrainingSettings = field(default_factory=TrainingSettings)
    """Force matching."""
    ensemble: EnsembleSettings | None = None
    """Networks that are trained and simulated beside the one of the run, as a measure of its uncertainty; none for
    none."""
    start_from: str | None = None
    """Force field folder whose weights training starts from (fine-tuning), or none to start from scratch."""
    train_with: tuple[str, ...] = ()
    """Run folders, or mapped trajectories, of other states or systems whose frames training takes beside this run's."""
    trained_in: str | None = None
    """Run folder whose force field is taken over instead of training one, for simulations at another state."""
    baseline: bool = True
    """Whether the pair spline is simulated beside the network, for comparison."""
    simulation: SimulationSettings = field(default_factory=SimulationSettings)
    """Coarse-grained simulation with the trained force field."""
    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)
    """Comparison of the simulation with the reference."""

    def __post_init__(self) -> None:
        """Refuse a name that is no plain folder name, and a run without or with two origins of its reference.

        Raises
        ------
        InputError : the name has other characters than letters, digits, '.', '_' and '-', the seed is negative, not
            exactly one of system and reference is given, or a liquid has neither density nor pressure.
        """
        if not _NAME.fullmatch(self.name):
            raise InputError(
                f"name is '{self.name}', expected a plain folder name: letters, digits, '.', '_' or '-', no '/'",
                fix="Use '--output' to put the run folder elsewhere.",
            )
        if not 0 <= self.seed < 2**31:
            raise InputError(f"seed is {self.seed}, expected 0 to 2147483647")
        if (self.system is None) == (self.reference is None):
            given = "neither is" if self.system is None else "both are"
            raise InputError(
                f"the configuration needs either a 'system' to sample or a 'reference' to import, {given} given",
                fix="For example 'system: {molecules: [{name: methanol, count: 256}]}', 'system: {kind: "
                "peptide, sequence: ACE-ALA-NME}', or 'reference: {files: "
                "[traj.trr], topology: conf.gro}'.",
            )
        is_liquid = isinstance(self.system, SystemSettings)
        if is_liquid and self.state.density is None and self.state.pressure is None:
            raise InputError(
                "the state needs either a 'density' or a 'pressure', neither is given", fix=_DENSITY_OR_PRESSURE
            )
