"""The simulation of a force field that is still without its correction: samples of its own distribution.

Replicas start from frames evenly spread over the reference, that is from its populations: a barrier that no replica
crosses within the run leaves these populations as they are, and the correction does nothing there.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from jaxtyping import Float, Int

from beadsmith.errors import PhysicsError
from beadsmith.force_field import ForceField
from beadsmith.io.h5md import read_trajectory
from beadsmith.progress import Progress, silent
from beadsmith.simulation.run import simulate
from beadsmith.simulation.settings import SimulationSettings
from beadsmith.trajectory import Trajectory
from beadsmith.units import Unit

_FRICTION = 5.0
"""[1/ps]. Populations do not depend on it; beads of a molecule cross barriers fastest near it."""


@dataclass(frozen=True, kw_only=True)
class CorrectionRunSettings:
    """The simulation of prior and network, without a correction, that `method: simulation` reweights."""

    replicas: int = 100
    """Molecules side by side; they start from frames evenly spread over the reference."""
    timestep: Annotated[float, Unit("ps")] = 0.002
    """Timestep of Langevin dynamics."""
    equilibration: Annotated[float, Unit("ps")] = 100.0
    """Time left out at the beginning: several times as long as the slowest crossing."""
    duration: Annotated[float, Unit("ps")] = 500.0
    """Time that counts."""
    save_interval: Annotated[float, Unit("ps")] = 0.5
    """Time between saved frames."""

    def __post_init__(self) -> None:
        """Refuse settings that make no run.

        Raises
        ------
        InputError : a value is out of range, or 'save_interval' is no multiple of the timestep.
        """
        self.to_simulation()

    def to_simulation(self, **others: Any) -> SimulationSettings:
        """Return the settings of the verb `simulate`."""
        return SimulationSettings(integrator="langevin", friction=_FRICTION, **asdict(self), **others)


@dataclass(frozen=True, kw_only=True)
class ModelRun:
    """What the replicas that ran to the end have seen."""

    frames: Trajectory
    """Their frames, replica by replica."""
    replica: Int[np.ndarray, "frames"]
    """Number of the replica of each frame, 0, 1, 2, ... without gaps."""
    summary: dict[str, Any]
    """Replicas, stopped replicas, temperatures [K] and times [ps], as JSON."""


@dataclass(frozen=True, kw_only=True)
class RunFiles:
    """Where a run leaves what it needs to go on after a kill, and what its result depends on."""

    output: Path
    """Trajectory file."""
    identity: str
    """Hash of everything the result depends on."""
    seed: int
    """Seed of velocities and noise."""


def run_model(
    force_field: ForceField,
    start: Trajectory,
    settings: SimulationSettings,
    files: RunFiles,
    progress: Progress = silent,
) -> ModelRun:
    """Simulate a force field from frames of a trajectory, at its temperature.

    Parameters
    ----------
    force_field : What to simulate with.
    start : Frames of one molecule; replicas are spread evenly over them.
    settings : How.
    files : Where to; the same call goes on where an interrupted one stopped, bit for bit on a CPU.
    progress : Receives picoseconds done, and speed.

    Raises
    ------
    PhysicsError : half of the replicas or more blew up.
    """
    files.output.parent.mkdir(parents=True, exist_ok=True)
    temperature = start.state_point.temperature
    summary = simulate(
        force_field,
        start,
        settings,
        files.output,
        temperature=temperature,
        seed=files.seed,
        identity=files.identity,
        progress=progress,
    )
    stopped = [entry["replica"] for entry in summary["stopped"]]
    if 2 * len(stopped) >= settings.replicas:
        raise PhysicsError(
            f"{len(stopped)} of {settings.replicas} replicas blew up in {settings.n_steps * settings.timestep:g} ps "
            f"with prior and network; the first one: {summary['stopped'][0]['reason']}",
            where="training.correction.simulation",
            fix="Use a shorter timestep there. If that does not help, train on more frames, or correct with 'method: "
            "labels' and look at the simulation.",
        )
    frames = read_trajectory(files.output)
    assert frames.segment is not None
    # what a replica did before it blew up may be on its way there
    order = np.flatnonzero(~np.isin(frames.segment, stopped))
    order = order[np.argsort(frames.segment[order], kind="stable")]
    _, replica = np.unique(frames.segment[order], return_inverse=True)
    return ModelRun(
        frames=frames.select(order),
        replica=replica,
        summary={
            "n_replicas": settings.replicas,
            "n_stopped": len(stopped),
            "n_samples": len(order),
            "temperature": temperature,
            "kinetic_temperature": summary["kinetic_temperature"]["mean"],
            "timestep": settings.timestep,
            "equilibration": settings.equilibration,
            "duration": settings.duration,
        },
    )


def find_late(times: Float[np.ndarray, "frames"]) -> np.ndarray:
    """Return which frames lie in the second half of a run."""
    return np.asarray(times > 0.5 * (times.min() + times.max()))
