"""Free energies of rare events: well-tempered metadynamics of OpenMM on a coarse-grained force field.

Gaussians are added where the molecule has been, ever lower ones, until the bias mirrors the free energy.
Source: A. Barducci, G. Bussi and M. Parrinello, Phys. Rev. Lett. 100, 020603 (2008), DOI
10.1103/PhysRevLett.100.020603.
"""

import math
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import openmm
import openmm.app
from jaxtyping import Float
from openmm import unit

from beadsmith.analysis.coordinates import Coordinate, find_peptide_coordinates, resolve_coordinate
from beadsmith.analysis.definitions import CoordinateDefinition
from beadsmith.analysis.stereocentres import find_centres
from beadsmith.errors import InputError, PhysicsError
from beadsmith.export.evaluator import Precision
from beadsmith.export.openmm import build_openmm_system
from beadsmith.force_field import ForceField
from beadsmith.progress import Progress, silent
from beadsmith.topology import Topology, group_equal_molecules
from beadsmith.trajectory import Trajectory
from beadsmith.units import Unit, thermal_energy

_POINTS_PER_WIDTH = 5


@dataclass(frozen=True, kw_only=True)
class BiasedCoordinate:
    """One coordinate along which a bias is built, in degrees or nm."""

    coordinate: CoordinateDefinition | str
    """A dihedral, angle or distance, or the name of one that a molecule has by its nature: ``phi``, ``psi``, ``phi 2``
    of a peptide, or ``2:CA`` for the signed improper of a site with three different substituents."""
    width: float
    """Standard deviation of the Gaussians: about half of that of the coordinate in a basin."""
    start: float | None = None
    """Lower end of the bias; must be given for distances."""
    end: float | None = None
    """Upper end of the bias; must be given for distances."""

    def __post_init__(self) -> None:
        """Check the width.

        Raises
        ------
        InputError : the width is not positive, or the range is empty.
        """
        if not (math.isfinite(self.width) and self.width > 0.0):
            raise InputError(f"'width' of the bias along '{self.name}' is {self.width}, expected > 0")
        if self.start is not None and self.end is not None and not self.start < self.end:
            raise InputError(f"the bias along '{self.name}' runs from {self.start} to {self.end}, expected a range")

    @property
    def name(self) -> str:
        """Name of the coordinate."""
        return self.coordinate if isinstance(self.coordinate, str) else self.coordinate.name


@dataclass(frozen=True, kw_only=True)
class MetadynamicsSettings:
    """How the bias is built."""

    coordinates: tuple[BiasedCoordinate, ...]
    """One to three coordinates, either dihedrals all or none."""
    timestep: Annotated[float, Unit("ps")] = 0.002
    """Timestep."""
    friction: Annotated[float, Unit("1/ps")] = 5.0
    """Collision rate with the heat bath."""
    duration: Annotated[float, Unit("ps")] = 1000.0
    """Time of each run."""
    interval: Annotated[float, Unit("ps")] = 0.5
    """Time between Gaussians: long enough for the coordinate to leave the last one."""
    height: Annotated[float, Unit("kJ/mol")] = 1.0
    """Height of the first Gaussians, below kT."""
    bias_factor: float = 10.0
    """How much hotter the coordinates become: about the barrier in kT."""
    runs: int = 4
    """Independent runs, from which the error comes."""

    def __post_init__(self) -> None:
        """Refuse settings that make no bias.

        Raises
        ------
        InputError : a value is out of range.
        """
        if not 1 <= len(self.coordinates) <= 3:
            raise InputError(f"metadynamics has {len(self.coordinates)} coordinates, expected 1 to 3")
        for name in ("timestep", "friction", "duration", "interval", "height"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0.0):
                raise InputError(f"'{name}' is {getattr(self, name)}, expected > 0")
        if not self.bias_factor > 1.0:
            raise InputError(f"'bias_factor' is {self.bias_factor}, expected > 1")
        if self.runs < 2:
            raise InputError(f"'runs' is {self.runs}, expected at least 2: errors come from their spread")
        if self.duration < self.interval:
            raise InputError(f"'duration' is {self.duration} ps, shorter than one 'interval' ({self.interval} ps)")
        if self.n_steps_between < 1:
            raise InputError(f"'interval' is {self.interval} ps, shorter than one 'timestep' ({self.timestep} ps)")

    @property
    def n_steps_between(self) -> int:
        """Steps between Gaussians."""
        return round(self.interval / self.timestep)

    @property
    def n_gaussians(self) -> int:
        """Gaussians of each run."""
        return int(self.duration / self.interval * (1.0 + 1e-9))


@dataclass(frozen=True, kw_only=True)
class FreeEnergyEstimate:
    """A free energy on a grid, from several runs; additive constants are such that ∫ exp(−F/kT) is one."""

    names: tuple[str, ...]
    """Names of the coordinates."""
    axes: tuple[Float[np.ndarray, "points"], ...]
    """Grid of each coordinate [degrees or nm]; of a dihedral the last point is the first one again."""
    free_energy: Float[np.ndarray, "..."]
    """Mean over the runs [kJ/mol], one axis a coordinate, in their order."""
    standard_error: Float[np.ndarray, "..."]
    """Standard error of that mean [kJ/mol]."""
    runs: Float[np.ndarray, "runs ..."]
    """Free energy of each run [kJ/mol]."""


def run_metadynamics(
    force_field: ForceField,
    starts: Trajectory,
    settings: MetadynamicsSettings,
    *,
    temperature: float,
    seed: int = 1,
    precision: Precision = "float32",
    progress: Progress = silent,
) -> FreeEnergyEstimate:
    """Return the free energy along one to three coordinates of a molecule, from several independent biased runs.

    F(s) = −γ/(γ − 1) V(s) with the bias V at the end and the bias factor γ. Where no run has been, the estimate is flat
    and means nothing. For a distance r it is −kT ln of the density of r, with its factor r².

    Parameters
    ----------
    force_field : Force field; it is copied.
    starts : Frames of one molecule in open space; run k starts from frame k, beginning anew when there are too few.
    settings : Coordinates and bias.
    temperature : Temperature [K].
    seed : Seed of velocities and noise.
    precision : Precision of energies and forces.
    progress : Receives picoseconds done, of all runs.

    Raises
    ------
    InputError : a coordinate is unknown, has no range or cannot be combined with the others, or the start does not fit
        the force field.
    PhysicsError : a run blew up.
    """
    coordinates = [_find_coordinate(biased, starts.topology) for biased in settings.coordinates]
    if len({coordinate.is_periodic for coordinate in coordinates}) > 1:
        raise InputError(
            "dihedrals cannot be biased together with angles or distances",
            fix="Bias dihedrals alone, or none of them.",
        )
    found = []
    for run in range(settings.runs):
        first = starts.select(slice(0, 1))
        system, topology = build_openmm_system(force_field, first, temperature=temperature, precision=precision)
        variables = [_make_variable(*pair) for pair in zip(settings.coordinates, coordinates, strict=True)]
        bias = openmm.app.Metadynamics(
            system, variables, temperature, settings.bias_factor, settings.height, settings.n_steps_between
        )
        # OpenMM takes 0 for a seed of its own choice
        own_seed = 1 + (seed * settings.runs + run) % (2**31 - 2)
        simulation = _start(system, topology, starts.positions[run % starts.n_frames], settings, temperature, own_seed)
        for number in range(1, settings.n_gaussians + 1):
            bias.step(simulation, settings.n_steps_between)
            done = (run * settings.n_gaussians + number) * settings.interval
            progress(done, settings.runs * settings.n_gaussians * settings.interval)
        free_energy = bias.getFreeEnergy().value_in_unit(unit.kilojoule_per_mole)
        if not np.isfinite(free_energy).all():
            raise PhysicsError(
                f"run {run} of the metadynamics blew up", fix="Use a shorter timestep, or lower Gaussians."
            )
        # OpenMM's arrays have the first coordinate last
        found.append(np.transpose(free_energy))
    axes = tuple(_make_axis(*pair) for pair in zip(settings.coordinates, coordinates, strict=True))
    runs = np.array([_normalise(values, axes, thermal_energy(temperature)) for values in found])
    return FreeEnergyEstimate(
        names=tuple(biased.name for biased in settings.coordinates),
        axes=axes,
        free_energy=runs.mean(axis=0),
        standard_error=runs.std(axis=0, ddof=1) / math.sqrt(len(runs)),
        runs=runs,
    )


def _find_coordinate(biased: BiasedCoordinate, topology: Topology) -> Coordinate:
    kinds = group_equal_molecules(topology)
    if len(kinds) != 1 or len(kinds[0].sites) != 1:
        raise InputError(f"metadynamics is for one molecule, but the start has {topology.n_molecules}")
    known = (*find_centres(topology, kinds[0]), *find_peptide_coordinates(topology, kinds[0]))
    natural = {entry.name: entry for entry in known}
    if isinstance(biased.coordinate, CoordinateDefinition):
        found = resolve_coordinate(biased.coordinate, topology, kinds[0])
    elif biased.coordinate in natural:
        found = natural[biased.coordinate]
    else:
        raise InputError(
            f"the molecule has no coordinate '{biased.coordinate}' by its nature",
            fix=f"It has: {', '.join(natural) or 'none'}. Describe others with a CoordinateDefinition.",
        )
    if found.is_periodic and (biased.start, biased.end) != (None, None):
        raise InputError(
            f"the bias along the dihedral '{biased.name}' has a range, but dihedrals are biased all around"
        )
    if not found.limits and (biased.start is None or biased.end is None):
        raise InputError(f"the bias along '{biased.name}' needs 'start' and 'end'")
    return found


def _find_range(biased: BiasedCoordinate, coordinate: Coordinate) -> tuple[float, float]:
    lowest, highest = coordinate.limits or (math.nan, math.nan)
    return (
        lowest if biased.start is None else biased.start,
        highest if biased.end is None else biased.end,
    )


def _make_axis(biased: BiasedCoordinate, coordinate: Coordinate) -> Float[np.ndarray, "points"]:
    """Return the grid of OpenMM's table; both ends are points of it, whatever `getFreeEnergy` says in its text."""
    start, end = _find_range(biased, coordinate)
    return np.linspace(start, end, 1 + math.ceil(_POINTS_PER_WIDTH * (end - start) / biased.width))


def _make_variable(biased: BiasedCoordinate, coordinate: Coordinate) -> openmm.app.BiasVariable:
    assert coordinate.sites is not None
    sites = coordinate.sites[0].tolist()
    if coordinate.kind == "dihedral":
        force = openmm.CustomTorsionForce("theta")
        force.addTorsion(*sites)
    elif coordinate.kind == "angle":
        force = openmm.CustomAngleForce("theta")
        force.addAngle(*sites)
    else:
        force = openmm.CustomBondForce("r")
        force.addBond(*sites)
    factor = 1.0 if coordinate.kind == "distance" else math.pi / 180.0
    start, end = _find_range(biased, coordinate)
    n_points = len(_make_axis(biased, coordinate))
    return openmm.app.BiasVariable(
        force, factor * start, factor * end, factor * biased.width, coordinate.is_periodic, n_points
    )


def _start(
    system: openmm.System,
    topology: openmm.app.Topology,
    positions: Float[np.ndarray, "sites 3"],
    settings: MetadynamicsSettings,
    temperature: float,
    seed: int,
) -> openmm.app.Simulation:
    integrator = openmm.LangevinMiddleIntegrator(temperature, settings.friction, settings.timestep)
    integrator.setRandomNumberSeed(seed)
    # one Python force: the other platforms add overhead and no speed
    platform = openmm.Platform.getPlatformByName("Reference")
    simulation = openmm.app.Simulation(topology, system, integrator, platform)
    simulation.context.setPositions(positions.astype(float) * unit.nanometer)
    simulation.context.setVelocitiesToTemperature(temperature, seed)
    return simulation


def _normalise(
    free_energy: Float[np.ndarray, "..."], axes: tuple[Float[np.ndarray, "points"], ...], kT: float
) -> Float[np.ndarray, "..."]:
    """Return F + kT ln ∫ exp(−F/kT), the integral by the trapezoidal rule over all axes."""
    weight = np.exp((free_energy.min() - free_energy) / kT)
    for axis in reversed(axes):
        weight = np.trapezoid(weight, axis, axis=-1)
    return free_energy - free_energy.min() + kT * math.log(float(weight))
