"""OpenMM contexts: which platform, how many threads, and the engine state that a killed run goes on from."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import openmm
from jaxtyping import Float

from beadsmith.errors import InputError
from beadsmith.machine import count_cores

PlatformName = Literal["auto", "CPU", "Reference", "CUDA", "OpenCL"]

SMALL = 100
"""Number of particles below which the Reference platform is faster than the CPU platform, which wakes threads."""

PER_THREAD = 250
"""Number of particles that keep one thread of the CPU platform busy (600 particles: two threads gain 1.4 times)."""


@dataclass(frozen=True, kw_only=True)
class Platform:
    """One OpenMM platform with its properties."""

    name: str
    """OpenMM name: CPU, Reference, CUDA or OpenCL."""
    threads: int
    """Threads of the CPU platform; 1 on others."""

    def create_context(self, system: openmm.System, integrator: openmm.Integrator) -> openmm.Context:
        """Return a context of this platform.

        Forces are summed in a fixed order where the platform can (free of cost in a trial on two cores).
        """
        platform = openmm.Platform.getPlatformByName(self.name)
        properties = {
            "CPU": {"DeterministicForces": "true", "Threads": str(self.threads)},
            "CUDA": {"Precision": "mixed", "DeterministicForces": "true"},
            "OpenCL": {"Precision": "mixed"},
        }.get(self.name, {})
        return openmm.Context(system, integrator, platform, properties)


def choose_platform(name: PlatformName, *, threads: int | None, n_particles: int) -> Platform:
    """Return the platform to use; ``auto`` takes the fastest usable one for the size.

    ``auto``: CUDA, else OpenCL on a GPU, else CPU from 100 particles on, else Reference. Without a number of threads
    the CPU platform gets as many cores as the size keeps busy.

    Raises
    ------
    InputError : the named platform is not installed or has no device here.
    """
    if name == "auto":
        for candidate in ("CUDA", "OpenCL"):
            if _is_usable(candidate):
                return Platform(name=candidate, threads=1)
        name = "CPU" if n_particles >= SMALL else "Reference"
    elif not _is_usable(name):
        usable = [candidate for candidate in ("CPU", "Reference", "CUDA", "OpenCL") if _is_usable(candidate)]
        raise InputError(
            f"OpenMM platform '{name}' cannot be used on this machine", fix=f"Use auto or one of {', '.join(usable)}."
        )
    useful = max(1, min(count_cores(), n_particles // PER_THREAD))
    return Platform(name=name, threads=(threads or useful) if name == "CPU" else 1)


def _is_usable(name: str) -> bool:
    system = openmm.System()
    system.addParticle(1.0)
    try:
        platform = openmm.Platform.getPlatformByName(name)
        context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
    except openmm.OpenMMException:
        return False
    # an OpenCL driver for the processor itself (PoCL) is slower than the CPU platform
    return name != "OpenCL" or not any(
        word in platform.getPropertyValue(context, "DeviceName").lower() for word in ("cpu", "pthread", "processor")
    )


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Positions, forces, energy and cell of one moment."""

    positions: Float[np.ndarray, "atoms 3"]
    """Positions [nm], molecules whole, not wrapped into the cell."""
    forces: Float[np.ndarray, "atoms 3"]
    """Minus the gradient of the potential energy [kJ/mol/nm], without constraint forces."""
    energy: float
    """Potential energy [kJ/mol], long-range correction included."""
    cell: Float[np.ndarray, "3 3"]
    """Cell vectors as rows [nm]."""


def take_snapshot(context: openmm.Context) -> Snapshot:
    """Return the present configuration of a context."""
    state = context.getState(positions=True, forces=True, energy=True)
    return Snapshot(
        positions=state.getPositions(asNumpy=True)._value,
        forces=state.getForces(asNumpy=True)._value,
        energy=float(state.getPotentialEnergy()._value),
        cell=np.asarray(state.getPeriodicBoxVectors(asNumpy=True)._value),
    )


def save_state(context: openmm.Context) -> dict[str, np.ndarray]:
    """Return all that a later process needs to go on: OpenMM's checkpoint, and plain arrays for other machines."""
    state = context.getState(positions=True, velocities=True)
    return {
        "checkpoint": np.frombuffer(context.createCheckpoint(), dtype=np.uint8),
        "engine": _encode(_describe_engine(context)),
        "positions": state.getPositions(asNumpy=True)._value,
        "velocities": state.getVelocities(asNumpy=True)._value,
        "cell": np.asarray(state.getPeriodicBoxVectors(asNumpy=True)._value),
    }


def restore_state_(context: openmm.Context, state: dict[str, np.ndarray]) -> bool:
    """Put a context into a saved state, in place; return whether it is exact, random numbers included.

    A checkpoint of another OpenMM version, platform or thread number cannot be read; positions and velocities then
    go on with fresh random numbers, which samples the same ensemble.
    """
    if np.array_equal(state["engine"], _encode(_describe_engine(context))):
        try:
            context.loadCheckpoint(state["checkpoint"].tobytes())
        except openmm.OpenMMException:
            pass
        else:
            return True
    context.setPeriodicBoxVectors(*state["cell"])
    context.setPositions(state["positions"])
    context.setVelocities(state["velocities"])
    return False


def renew_(context: openmm.Context) -> None:
    """Forget what a checkpoint does not hold, in place, so that a resumed run equals an uninterrupted one.

    The barostat adapts its step size, and the CPU platform keeps a neighbour list whose order depends on when it was
    built; setting the context up again costs 0.03 s and makes runs on the Reference platform and on one thread of
    the CPU platform bit-equal. Several threads draw random numbers in the order in which they happen to be ready: the
    ensemble is then the same and the trajectory is not. On a GPU it would cost seconds and is left out.
    """
    if context.getPlatform().getName() in ("CPU", "Reference"):
        context.reinitialize(preserveState=True)


def _describe_engine(context: openmm.Context) -> str:
    platform = context.getPlatform()
    values = [platform.getPropertyValue(context, name) for name in platform.getPropertyNames()]
    return " ".join([openmm.version.full_version, platform.getName(), *values])


def _encode(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), dtype=np.uint8)
