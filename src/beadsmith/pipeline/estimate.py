"""What a run will cost, before it is started: time, memory and disk of each stage.

Times of the network come from a trial of a second with the configured network on a box of the configured size on this
machine; all others from the costs below, measured on a server (AMD EPYC, 2026). Expect a factor of two
either way: a busy machine, another compiler or a faster processor shift them all.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from beadsmith.batch import Batch, build_batch
from beadsmith.config.consistency import find_box_edge
from beadsmith.config.load import load_config
from beadsmith.config.settings import RunSettings
from beadsmith.diagnostics.mapping.survey import MOST_SITES
from beadsmith.energy import predict_network
from beadsmith.importing.run import ReferenceSurvey, survey_reference
from beadsmith.machine import count_cores
from beadsmith.mapping.apply import find_templates
from beadsmith.mapping.beads import describe_beads
from beadsmith.neighbors import find_pairs
from beadsmith.networks.kinds import build_network
from beadsmith.pipeline.ensemble_cost import add_ensemble
from beadsmith.pipeline.execute import find_config
from beadsmith.sampling.engine import PER_THREAD
from beadsmith.sampling.gromacs.program import SECONDS_PER_ATOM_STEP
from beadsmith.sampling.peptides import PeptideSettings
from beadsmith.sampling.starts import SystemChoice, measure_system
from beadsmith.sampling.systems import SystemSettings
from beadsmith.topology import Topology
from beadsmith.trajectory import StatePoint, Trajectory

UNCERTAINTY = "Times are right within a factor of two or so on a machine that is otherwise idle."

_SECONDS_PER_ATOM_STEP = 6.2e-6
"""OpenMM CPU platform with PME and geometric mixing at 0.9 nm: 6.3 ms a step for 1536 atoms on two cores."""

_SECONDS_PER_SQUARE = {"vacuum": 2e-8, "obc2": 5.3e-8, "gbn2": 8e-8}
"""OpenMM without cutoffs, per square of the number of atoms and step, on one thread: capped alanine with OBC2 takes
0.026 ms on the Reference platform."""

_SECONDS_OF_GBN2 = 6e-4
"""Least time of a step with GBn2, which OpenMM compiles from its formula."""

_SECONDS_PER_FRAME = 5e-5
"""Taking one frame out of OpenMM."""

_SECONDS_PER_ATOM_VIRIAL = 6e-5
"""Molecular virial of a saved frame: twelve energies, each with a new neighbour list, about 90 ms for 1536 atoms."""

_SECONDS_PER_ATOM_MAPPED = 1.5e-6
"""Both passes over one frame."""

_SECONDS_PER_BEAD_DIAGNOSED = 2.5e-6
"""All measures on one bead of a frame."""

_SECONDS_PER_PAIR_FITTED = 4e-7
"""Normal equations of the pair spline, per pair and frame."""

_SECONDS_PER_ATOM_IMPORTED = 1.2e-6
"""Reading, sorting, making whole and saving one atom of a frame from a binary file; text takes ten times as long."""

_SECONDS_PER_BIASED_STEP = 1.9e-3
"""A step of metadynamics in OpenMM on a network: SchNet on the six beads of capped alanine, one busy core."""

_SPACING = 0.35
"""Distance between beads of a system without a box [nm], for the trial of the network."""

_SMALL = 100
"""Number of beads below which several frames in one call cost less than one after the other."""

_MOST_COPIES = 100
"""Most frames in a trial of the network."""

_BYTES_OF_LIBRARIES = 0.6e9
"""Memory of Python, torch and OpenMM without any data."""

_BYTES_PER_PAIR = 14
"""One stored directed neighbour pair of a training frame."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """The cost of one stage."""

    stage: str
    """Name of the stage."""
    work: str
    """What it does, in numbers."""
    time: float
    """Wall time [s]."""
    memory: float
    """Largest memory in use [bytes]."""
    disk: float
    """Space that its results keep [bytes]."""


@dataclass(frozen=True, kw_only=True)
class _Size:
    """The numbers that all costs follow from."""

    n_atoms: int
    n_simulated: int
    beads: Topology
    n_frames: int
    pairs_per_bead: float
    force_time: float
    step_time: float

    @property
    def n_beads(self) -> int:
        return self.beads.n_sites


def check_config(config: Path | str, overrides: tuple[str, ...] = ()) -> tuple[RunSettings, list[Estimate]]:
    """Validate a configuration and estimate what running it costs, without computing anything.

    Parameters
    ----------
    config : YAML file.
    overrides : Settings that replace those of the file, each ``"a.b=c"``.

    Raises
    ------
    InputError : the configuration cannot be used.
    """
    settings = load_config(find_config(Path(config)), overrides)
    return settings, estimate_costs(settings)


def survey(settings: RunSettings) -> ReferenceSurvey | None:
    """Return what the files of an imported reference hold, or None for a sampled one.

    Raises
    ------
    InputError : the files cannot be imported.
    """
    if settings.reference is None:
        return None
    return survey_reference(settings.reference, settings.state.to_state_point())


def estimate_costs(settings: RunSettings, found: ReferenceSurvey | None = None) -> list[Estimate]:
    """Return time, memory and disk of each stage; takes a second for a trial of the network.

    Parameters
    ----------
    settings : The configuration.
    found : What `survey` returned, if it was called before.
    """
    size = _measure_size(settings, found or survey(settings))
    origin = _estimate_sampling(settings, size) if settings.reference is None else _estimate_import(size)
    estimates = [origin, _estimate_mapping(size), _estimate_diagnosis(size)]
    estimates += [] if settings.mean_force is None else [_estimate_averages(settings, size)]
    estimates.append(_estimate_training(settings, size))
    if settings.network is not None:
        estimates.append(_estimate_simulation(settings, size, "simulate", size.force_time))
    # replicas of molecules share the cost of a call
    spline_time = 1e-6 * size.n_beads + (0.0 if size.n_beads < _SMALL else 1e-3)
    estimates.append(_estimate_simulation(settings, size, "simulate_pair_spline", spline_time))
    estimates.append(_estimate_evaluation(settings, size))
    return add_ensemble(settings, estimates)


def _measure_size(settings: RunSettings, found: ReferenceSurvey | None) -> _Size:
    cutoff = settings.prior.cutoff if settings.network is None else settings.network.cutoff
    if found is None:
        assert settings.system is not None
        atoms = measure_system(settings.system)
        beads = describe_beads(find_templates(atoms.topology, settings.mapping))
        edge = _find_edge(settings, settings.system, beads)
        n_atoms, n_simulated, n_frames = atoms.topology.n_sites, atoms.n_simulated, settings.sampling.n_frames
    else:
        beads = describe_beads(find_templates(found.topology, settings.mapping))
        edge = (found.volume or beads.n_sites * _SPACING**3) ** (1.0 / 3.0)
        n_atoms = n_simulated = found.topology.n_sites
        n_frames = found.n_frames
    force_time, step_time = (0.0, 0.0) if settings.network is None else _try_network(settings, beads, edge)
    return _Size(
        n_atoms=n_atoms,
        n_simulated=n_simulated,
        beads=beads,
        n_frames=n_frames,
        pairs_per_bead=min(beads.n_sites / edge**3 * 4.0 / 3.0 * np.pi * cutoff**3, beads.n_sites - 1.0),
        force_time=force_time,
        step_time=step_time,
    )


def _find_edge(settings: RunSettings, system: SystemChoice, beads: Topology) -> float:
    """Return the edge of the box, or of a cube that open molecules would fill [nm]."""
    if isinstance(system, SystemSettings):
        return find_box_edge(system, settings)
    return float((beads.n_sites * _SPACING**3) ** (1.0 / 3.0))


def _try_network(settings: RunSettings, beads: Topology, edge: float) -> tuple[float, float]:
    """Return the times of a force call and of a training step, of one frame on a random box of the configured size [s].

    Replicas and frames of molecules are computed many at a time, those of boxes are as good as one by one.
    """
    assert settings.network is not None
    network = build_network(settings.network, beads.type_names, torch.Generator().manual_seed(0))
    is_small = beads.n_sites < _SMALL
    n_predicted = min(settings.simulation.replicas, _MOST_COPIES) if is_small else 1
    n_trained = min(settings.training.batch_size, _MOST_COPIES) if is_small else 1
    cutoff = settings.network.cutoff
    predicted, trained = (_random_batch(settings, beads, edge, n_copies=n) for n in (n_predicted, n_trained))
    predicted_pairs, trained_pairs = find_pairs(predicted, cutoff), find_pairs(trained, cutoff)

    def train_once() -> None:
        predict_network(network, trained, trained_pairs, create_graph=True).forces.square().mean().backward()

    def predict_once() -> None:
        with torch.no_grad():
            predict_network(network, predicted, predicted_pairs)

    return _time(predict_once) / n_predicted, _time(train_once) / n_trained


def _random_batch(settings: RunSettings, beads: Topology, edge: float, *, n_copies: int) -> Batch:
    per_edge = int(np.ceil(beads.n_sites ** (1.0 / 3.0)))
    grid = np.stack(np.meshgrid(*[np.arange(per_edge)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)[: beads.n_sites]
    blur = np.random.default_rng(0).uniform(-0.25, 0.25, grid.shape)
    # an open system stands in a box that is too large for images to matter
    cell = edge if 2.0 * _longest_cutoff(settings) <= edge else edge + 2.0 * _longest_cutoff(settings)
    frame = Trajectory(
        topology=beads,
        state_point=StatePoint(temperature=settings.state.temperature),
        positions=((grid + blur) * edge / per_edge)[None].astype(np.float32),
        times=np.zeros(1),
        cell=(cell * np.eye(3, dtype=np.float32))[None],
    )
    return build_batch(frame, np.zeros(n_copies, dtype=np.int64))


def _longest_cutoff(settings: RunSettings) -> float:
    return settings.prior.cutoff if settings.network is None else max(settings.network.cutoff, settings.prior.cutoff)


def _estimate_import(size: _Size) -> Estimate:
    return Estimate(
        stage="import",
        work=f"{size.n_frames} frames of {size.n_atoms} atoms",
        time=2.0 + size.n_frames * size.n_atoms * _SECONDS_PER_ATOM_IMPORTED,
        memory=_BYTES_OF_LIBRARIES + 4e8,
        # positions and forces in single precision
        disk=24.0 * size.n_frames * size.n_atoms,
    )


def _time(call: Callable[[], None]) -> float:
    """Return the fastest of a few calls after a first one, which may compile, within half a second [s]."""
    call()
    best, began = np.inf, time.perf_counter()
    for _ in range(10):
        mark = time.perf_counter()
        call()
        now = time.perf_counter()
        best = min(best, now - mark)
        if now - began > 0.5:
            break
    return best


def _estimate_sampling(settings: RunSettings, size: _Size) -> Estimate:
    assert settings.system is not None
    sampling = settings.sampling
    n_replicas = len(sampling.list_temperatures(settings.state.temperature))
    n_frames = size.n_frames * (n_replicas // sampling.replicas)
    n_steps = round((sampling.equilibration + sampling.duration) / sampling.timestep)
    threads = sampling.threads or count_cores()
    seconds = n_replicas * n_steps * _step_time(settings.system, size.n_simulated, engine=sampling.engine)
    if n_replicas == 1 and size.n_simulated >= 2 * PER_THREAD:
        # measured: two threads run 1.5 times as fast as one
        seconds /= threads**0.6
    else:
        seconds /= min(threads, n_replicas)
    if isinstance(settings.system, PeptideSettings):
        seconds += 2.0 + n_frames * _SECONDS_PER_FRAME
    else:
        seconds += 15.0 + n_frames * size.n_atoms * _SECONDS_PER_ATOM_VIRIAL
    several, program = f"{n_replicas} x " * (n_replicas > 1), " with GROMACS" * (sampling.engine == "gromacs")
    return Estimate(
        stage="sample",
        work=f"{several}{n_steps} steps of {size.n_simulated} atoms{program}",
        time=seconds,
        memory=_BYTES_OF_LIBRARIES + 2e4 * size.n_simulated * n_replicas,
        # positions and forces in single precision
        disk=24.0 * n_frames * size.n_atoms,
    )


def _step_time(system: SystemChoice, n_atoms: int, engine: str = "openmm") -> float:
    """Return the time of one step of one replica on one thread [s]."""
    if isinstance(system, SystemSettings) or system.solvent == "tip3p":
        return n_atoms * (SECONDS_PER_ATOM_STEP if engine == "gromacs" else _SECONDS_PER_ATOM_STEP)
    least = _SECONDS_OF_GBN2 if system.solvent == "gbn2" else 0.0
    return least + n_atoms**2 * _SECONDS_PER_SQUARE[system.solvent]


def _estimate_mapping(size: _Size) -> Estimate:
    return Estimate(
        stage="map",
        work=f"{size.n_frames} frames",
        time=1.0 + size.n_frames * size.n_atoms * _SECONDS_PER_ATOM_MAPPED,
        memory=_BYTES_OF_LIBRARIES + 2e8,
        disk=24.0 * size.n_frames * size.n_beads,
    )


def _estimate_diagnosis(size: _Size) -> Estimate:
    n_sites = min(size.n_frames * size.n_beads, MOST_SITES)
    return Estimate(
        stage="diagnose",
        work=f"{n_sites // size.n_beads} frames of {size.n_beads} beads",
        time=1.0 + n_sites * _SECONDS_PER_BEAD_DIAGNOSED,
        memory=_BYTES_OF_LIBRARIES + 200.0 * n_sites,
        disk=5e5,
    )


def _estimate_averages(settings: RunSettings, size: _Size) -> Estimate:
    assert settings.mean_force is not None
    assert settings.system is not None
    averages = settings.mean_force
    timestep = averages.timestep or settings.sampling.timestep
    n_steps = round((averages.equilibration + averages.duration) / timestep)
    step = _step_time(settings.system, size.n_simulated)
    if size.n_simulated >= 2 * PER_THREAD:
        step /= (averages.threads or count_cores()) ** 0.6
    return Estimate(
        stage="average",
        work=f"{averages.frames} x {n_steps} steps of {size.n_simulated} atoms",
        time=5.0 + averages.frames * (n_steps * step + averages.n_samples * _SECONDS_PER_FRAME),
        memory=_BYTES_OF_LIBRARIES + 2e4 * size.n_simulated,
        disk=60.0 * averages.frames * size.n_beads,
    )


def _estimate_training(settings: RunSettings, size: _Size) -> Estimate:
    training = settings.training
    n_train = size.n_frames * (1.0 - training.validation_fraction - training.test_fraction)
    n_pairs = size.n_frames * size.n_beads * size.pairs_per_bead
    n_parts = len(training.noise_floor_fractions)
    # these fits run side by side
    factor = 1.0 + (training.noise_floor_cost / min(n_parts, count_cores()) if n_parts else 0.0)
    # every kind of label asks for another sum of the channels
    factor *= 1.0 + (training.thermal != "none" and training.labels.energies > 0.0)
    # a step also reads its frames and moves the optimiser and the average
    per_frame = 1.2 * size.step_time + 2e-3 / training.batch_size
    seconds = factor * training.epochs * n_train * per_frame if size.step_time else 0.0
    if training.correction is not None and training.correction.method == "simulation":
        run = training.correction.simulation.to_simulation()
        seconds += run.n_steps * (run.replicas * size.force_time + 1e-3)
    if training.volume_term is not None and training.volume_term.method == "simulation":
        run = training.volume_term.simulation.to_simulation()
        # the pair spline is simulated too, in a tenth of the time
        seconds += run.n_steps * (1.1 * run.replicas * size.force_time + 2e-3)
    return Estimate(
        stage="train",
        work=f"up to {training.epochs} epochs of {n_train:.0f} frames" if size.step_time else "pair spline only",
        time=3.0 + _SECONDS_PER_PAIR_FITTED * n_pairs + seconds,
        memory=_BYTES_OF_LIBRARIES + min(_BYTES_PER_PAIR * n_pairs, 1e9 * training.pair_memory),
        disk=2e6,
    )


def _estimate_simulation(settings: RunSettings, size: _Size, stage: str, force_time: float) -> Estimate:
    simulation = settings.simulation
    n_steps = simulation.n_steps
    return Estimate(
        stage=stage,
        work=f"{n_steps} steps of {simulation.replicas} x {size.n_beads} beads",
        time=2.0 + n_steps * (simulation.replicas * force_time + 1e-3),
        memory=_BYTES_OF_LIBRARIES + 2e3 * simulation.replicas * size.n_beads * size.pairs_per_bead,
        # positions and velocities in single precision
        disk=24.0 * simulation.n_frames * simulation.replicas * size.n_beads,
    )


def _estimate_evaluation(settings: RunSettings, size: _Size) -> Estimate:
    n_frames = size.n_frames + 2 * settings.simulation.n_frames * settings.simulation.replicas
    work, bias = f"{n_frames} frames", settings.evaluation.inversion_barrier
    n_steps = 0 if bias is None else round(bias.runs * bias.duration / bias.timestep)
    if n_steps:
        # how many there are, only the mapped frames tell
        work += f", {n_steps} steps of metadynamics for one stereocentre"
    return Estimate(
        stage="evaluate",
        work=work,
        time=5.0 + 2e-5 * n_frames * size.n_beads + n_steps * max(_SECONDS_PER_BIASED_STEP, size.force_time),
        memory=_BYTES_OF_LIBRARIES + 5e8,
        disk=2e7,
    )
