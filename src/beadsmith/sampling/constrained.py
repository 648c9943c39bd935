"""The verb `average`: hold the beads of some frames fixed, run the atoms around them, and average the mapped forces.

A label of ordinary force matching is the force of one moment; most of it is noise. The average over many moments at
the same beads is the mean force itself up to a small, known error, and the covariance of force and energy says how it
changes with temperature. A run begins at a frame of the reference, which is one draw from the configurations of its
beads, so the average is right from the first step on; what is slower than a run makes labels noisy, and not biased.
"""

import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import openmm
from jaxtyping import Float, Int

from beadsmith.errors import InputError, PhysicsError
from beadsmith.io.h5md import StoredTrajectory, open_trajectory
from beadsmith.io.parts import PartStore
from beadsmith.linear_map import LinearMap
from beadsmith.progress import Progress, silent
from beadsmith.sampling.engine import Platform, PlatformName, choose_platform
from beadsmith.sampling.fibre_averages import N_BLOCKS, FibreAverages, average_fibre
from beadsmith.sampling.held_beads import FORCES, HeldBeads, hold_beads
from beadsmith.statistics import mean_and_error
from beadsmith.trajectory import Trajectory, join_trajectories
from beadsmith.units import GAS_CONSTANT, Unit

_FARTHEST = 1e-4
"""Distance by which a held bead may have moved at the end of a run [nm]: beyond rounding and heavy atoms, a mistake."""

_CHECKPOINT = 15.0
"""Wall time between checkpoints [s]; a run at fixed beads is not cut."""


@dataclass(frozen=True, kw_only=True)
class MeanForceSettings:
    """Averaged labels: beads of some frames are held fixed while the atoms around them are simulated."""

    frames: int = 200
    """Number of bead configurations, evenly spread over the mapped trajectory."""
    equilibration: Annotated[float, Unit("ps")] = 0.2
    """Time at fixed beads before the first sample; the start is in equilibrium already."""
    duration: Annotated[float, Unit("ps")] = 20.0
    """Time over which a force is averaged."""
    sample_interval: Annotated[float, Unit("ps")] = 0.04
    """Time between samples."""
    timestep: Annotated[float, Unit("ps")] | None = None
    """Timestep; none takes that of the reference, or less where lighter atoms move: 1 to 4 fs."""
    friction: Annotated[float, Unit("1/ps")] = 5.0
    """Friction of the Langevin thermostat."""
    platform: PlatformName = "auto"
    """OpenMM platform; auto takes a GPU if there is one, else what is fast for the size."""
    threads: int | None = None
    """Threads of a run; none takes what the size can use. Configurations are done one after the other."""

    def __post_init__(self) -> None:
        """Refuse values that give no averages.

        Raises
        ------
        InputError : a value is out of range, or there are too few samples.
        """
        for name in ("duration", "sample_interval", "friction"):
            if not (np.isfinite(getattr(self, name)) and getattr(self, name) > 0.0):
                raise InputError(f"{name} is {getattr(self, name)}, expected > 0")
        if self.timestep is not None and not 0.0 < self.timestep <= 0.005:
            raise InputError(f"timestep is {self.timestep} ps, expected > 0 and at most 0.005 ps")
        if not (np.isfinite(self.equilibration) and self.equilibration >= 0.0):
            raise InputError(f"equilibration is {self.equilibration}, expected >= 0")
        for name, least in (("frames", 1), ("threads", 1)):
            if getattr(self, name) is not None and getattr(self, name) < least:
                raise InputError(f"{name} is {getattr(self, name)}, expected at least {least}")
        if self.n_samples < 2 * N_BLOCKS:
            raise InputError(
                f"duration is {self.duration:g} ps, which gives {self.n_samples} samples, expected at least "
                f"{2 * N_BLOCKS} for an error",
                fix="Use a longer duration or a shorter sample_interval.",
            )

    @property
    def n_samples(self) -> int:
        """Number of forces behind each label."""
        return int(self.duration / self.sample_interval * (1.0 + 1e-9))


def average_forces(
    settings: MeanForceSettings,
    system: openmm.System,
    reference: Path,
    mapped: Path,
    output: Path,
    *,
    position_map: LinearMap,
    force_map: LinearMap,
    reference_timestep: float,
    seed: int,
    identity: str,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Write averaged labels for some frames of a mapped trajectory; the same call resumes an interrupted one.

    Frames of the output are in the order of their place within their run, as if all runs had been cut alike: a split
    into training, validation and test frames then falls at the same places as that of the mapped frames.

    Parameters
    ----------
    settings : How many, and how long.
    system : Interactions of the atoms of the reference, all of them.
    reference : The atoms of the mapped frames.
    mapped : Bead trajectory of that reference: frames at the temperature of its state, in the same order.
    output : Bead trajectory to write, with forces, energies, response forces and their errors.
    position_map, force_map : How atoms became beads.
    reference_timestep : Timestep of the reference [ps]: the same errors of the integrator are then in all labels.
    seed : Fixes velocities and random forces.
    identity : Hash of all inputs; unfinished parts of another identity are discarded.
    progress : Receives picoseconds done.

    Returns
    -------
    The metadata of the file: settings, platform, speed; ``noise_floor``, the variance of a component of an
    instantaneous force at fixed beads, which no force field can predict [(kJ/mol/nm)²]; and ``heat_capacity``, the part
    Var(u)/kT² of the configurational heat capacity that is mapped out [kJ/mol/K]. Both are means over the frames.

    Raises
    ------
    InputError : files and system do not fit each other, beads cannot be held, or the timestep is too long.
    PhysicsError : a run diverged.
    """
    with open_trajectory(reference) as atoms, open_trajectory(mapped) as beads:
        frames = _match_frames(atoms, beads, system)
        chosen = choose_frames(beads.segment, beads.n_frames, settings.frames)
        held = hold_beads(system, position_map, names=beads.topology.names)
        timestep = _choose_timestep(settings, held, reference_timestep)
        platform = choose_platform(settings.platform, threads=settings.threads, n_particles=system.getNumParticles())
        runner = _Runner(
            held=held, platform=platform, settings=settings, timestep=timestep, position_map=position_map,
            force_map=force_map, temperature=beads.state_point.temperature,
        )  # fmt: skip
        store = PartStore(output, identity)
        labels: list[Trajectory] = []
        variances = [] if store.last_state is None else store.last_state["variances"].tolist()
        began = saved = time.monotonic()
        n_before = store.n_frames
        for number in range(n_before, len(chosen)):
            place = np.array([chosen[number]])
            averages = runner.run(atoms.read(frames[place]), seed=_derive_seed(seed, number))
            labels.append(_make_label(beads.read(place), averages))
            variances.append([float(averages.force_variance.mean()), averages.energy_variance])
            progress((number + 1) * settings.duration, len(chosen) * settings.duration, "forces at fixed beads")
            if time.monotonic() - saved > _CHECKPOINT or number + 1 == len(chosen):
                store.append(join_trajectories(labels), {"variances": np.array(variances)})
                labels, saved = [], time.monotonic()
        temperature = beads.state_point.temperature
        summary = {
            "stage": "average",
            "settings": asdict(settings),
            "timestep": timestep,
            "platform": platform.name,
            "threads": platform.threads,
            "n_projected_beads": held.n_projected,
            "seed": seed,
            "source_frames": chosen.tolist(),
            "molecules": beads.metadata.get("molecules", []),
            "noise_width": beads.metadata.get("noise_width"),
        }
    values, errors = mean_and_error(variances)
    metadata = summary | {
        name: {"value": scale * float(value), "error": scale * float(error), "unit": unit}
        for name, scale, unit, value, error in (
            ("noise_floor", 1.0, "(kJ/mol/nm)^2", values[0], errors[0]),
            ("heat_capacity", 1.0 / (GAS_CONSTANT * temperature**2), "kJ/mol/K", values[1], errors[1]),
        )
    }
    store.finish(metadata)
    n_done = len(chosen) - n_before
    return metadata | {"frames_per_second": n_done / max(time.monotonic() - began, 1e-9)}


def choose_frames(segment: Int[np.ndarray, "frames"] | None, n_frames: int, n_wanted: int) -> Int[np.ndarray, "wanted"]:
    """Return frames evenly spread over every segment, which gets its share of them, in order of their relative time.

    Parameters
    ----------
    segment : Segment of each frame; None for one.
    n_frames : Number of frames.
    n_wanted : Number to choose.

    Raises
    ------
    InputError : there are fewer frames.
    """
    if n_wanted > n_frames:
        raise InputError(
            f"'mean_force.frames' is {n_wanted}, but the mapped trajectory has {n_frames} frames",
            fix="Ask for fewer, or sample longer.",
        )
    labels = np.zeros(n_frames, dtype=np.int64) if segment is None else segment
    names, lengths = np.unique(labels, return_counts=True)
    # shares of the segments, rounded down; those with the largest remainders get one more
    shares = n_wanted * lengths / n_frames
    counts = shares.astype(np.int64)
    counts[np.argsort(counts - shares, kind="stable")[: n_wanted - counts.sum()]] += 1
    chosen, place = [], []
    for name, length, count in zip(names, lengths, counts, strict=True):
        odd = 2 * np.arange(count) + 1
        chosen.append(np.flatnonzero(labels == name)[odd * length // max(2 * count, 1)])
        place.append(odd / max(2 * count, 1))
    return np.concatenate(chosen)[np.argsort(np.concatenate(place), kind="stable")]


@dataclass(frozen=True, kw_only=True)
class _Runner:
    """What all runs have in common."""

    held: HeldBeads
    platform: Platform
    settings: MeanForceSettings
    timestep: float
    position_map: LinearMap
    force_map: LinearMap
    temperature: float

    def run(self, frame: Trajectory, *, seed: int) -> FibreAverages:
        """Return the averages at the beads of one frame of atoms."""
        settings = self.settings
        integrator = self.held.create_integrator(
            temperature=self.temperature, friction=settings.friction, timestep=self.timestep, seed=seed
        )
        context = self.platform.create_context(self.held.system, integrator)
        if frame.cell is not None:
            context.setPeriodicBoxVectors(*frame.cell[0].astype(np.float64))
        context.setPositions(frame.positions[0].astype(np.float64))
        context.applyConstraints(1e-6)
        context.setVelocitiesToTemperature(self.temperature, seed)
        start = self._find_beads(context)
        stride = max(1, round(settings.sample_interval / self.timestep))
        forces = np.empty((settings.n_samples, self.force_map.n_beads, 3))
        energies = np.empty(settings.n_samples)
        try:
            integrator.step(round(settings.equilibration / self.timestep))
            for sample in range(settings.n_samples):
                integrator.step(stride)
                state = context.getState(forces=True, energy=True, groups=FORCES)
                forces[sample] = self.force_map.apply(state.getForces(asNumpy=True)._value[None])[0]
                energies[sample] = state.getPotentialEnergy()._value
        except openmm.OpenMMException as error:
            if "NaN" not in str(error):
                raise
            raise _diverged(self.timestep) from error
        if not np.isfinite(energies).all():
            raise _diverged(self.timestep)
        moved = float(np.abs(self._find_beads(context) - start).max())
        if moved > _FARTHEST:
            raise PhysicsError(f"a bead that should be held has moved by {moved:.2g} nm")
        return average_fibre(forces, energies, temperature=self.temperature)

    def _find_beads(self, context: openmm.Context) -> Float[np.ndarray, "beads 3"]:
        positions = context.getState(positions=True).getPositions(asNumpy=True)._value
        return self.position_map.apply(np.asarray(positions)[None])[0]


def _match_frames(atoms: StoredTrajectory, beads: StoredTrajectory, system: openmm.System) -> Int[np.ndarray, "frames"]:
    """Return the frame of the reference that each mapped frame is from."""
    if atoms.topology.n_sites != system.getNumParticles():
        raise InputError(
            f"the reference has {atoms.topology.n_sites} atoms, but {system.getNumParticles()} are simulated",
            where=f"file '{atoms.path}'",
            fix="Averaged labels need all atoms in the frames: sample a peptide in water with 'save: all'.",
        )
    temperature, wanted = atoms.temperature, beads.state_point.temperature
    frames = np.arange(atoms.n_frames) if temperature is None else np.flatnonzero(temperature == wanted)
    if len(frames) != beads.n_frames:
        raise InputError(
            f"'{beads.path}' has {beads.n_frames} frames, but its reference '{atoms.path}' has {len(frames)} at "
            f"{wanted:g} K",
            fix="Repeat 'beadsmith map'.",
        )
    return frames


def _choose_timestep(settings: MeanForceSettings, held: HeldBeads, reference_timestep: float) -> float:
    if settings.timestep is None:
        return min(reference_timestep, held.longest_timestep)
    if settings.timestep > held.longest_timestep + 1e-9:
        raise InputError(
            f"'mean_force.timestep' is {1000.0 * settings.timestep:g} fs, but the lightest atoms that move are stable "
            f"up to {1000.0 * held.longest_timestep:g} fs",
            fix="Leave it out.",
        )
    return settings.timestep


def _make_label(beads: Trajectory, averages: FibreAverages) -> Trajectory:
    """Return the frame of beads with averages in the place of its label."""
    return replace(
        beads,
        forces=averages.force[None].astype(np.float32),
        energy=np.array([averages.energy]),
        virial=None,
        velocities=None,
        segment=None,
        temperature=None,
        n_averaged=np.array([averages.n_samples]),
        force_noise=averages.force_noise[None].astype(np.float32),
        response_forces=averages.response[None].astype(np.float32),
        response_noise=averages.response_noise[None].astype(np.float32),
        energy_noise=np.array([averages.energy_noise]),
        energy_variance=np.array([averages.energy_variance]),
    )


def _derive_seed(seed: int, number: int) -> int:
    """Return the seed of a run for OpenMM, which takes 0 for a random one."""
    return 1 + int(np.random.SeedSequence(seed, spawn_key=(number,)).generate_state(1)[0] % (2**31 - 2))


def _diverged(timestep: float) -> PhysicsError:
    return PhysicsError(
        f"a run at fixed beads diverged with a timestep of {1000.0 * timestep:g} fs",
        fix="Set a shorter mean_force.timestep.",
    )
