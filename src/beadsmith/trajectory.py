"""The record that flows between all stages: frames of positions and forces with everything needed to read them."""

from dataclasses import dataclass, fields, replace

import numpy as np
from jaxtyping import Float, Int

from beadsmith.errors import InputError
from beadsmith.topology import Topology


@dataclass(frozen=True, kw_only=True)
class StatePoint:
    """The thermodynamic state at which frames were sampled."""

    temperature: float
    """Temperature [K]."""
    density: float | None = None
    """Mass density [u/nm³], or None where the volume is not fixed or there is no box."""
    pressure: float | None = None
    """Pressure [kJ/mol/nm³] of a constant-pressure run, or None."""

    def __post_init__(self) -> None:
        """Refuse a temperature or density that is not positive.

        Raises
        ------
        InputError : the value is not positive and finite.
        """
        if not (np.isfinite(self.temperature) and self.temperature > 0.0):
            raise InputError(f"temperature is {self.temperature} K, expected > 0")
        if self.density is not None and not (np.isfinite(self.density) and self.density > 0.0):
            raise InputError(f"density is {self.density} u/nm^3, expected > 0")


@dataclass(frozen=True, kw_only=True)
class Trajectory:
    """Frames of one topology at one state point. Positions and forces float32, energies and virials float64.

    A data set is a tuple of trajectories; nothing in beadsmith assumes that there is only one.
    """

    topology: Topology
    """The sites."""
    state_point: StatePoint
    """Where the frames were sampled."""
    positions: Float[np.ndarray, "frames sites 3"]
    """Site positions [nm]; molecules may be broken across the periodic boundary."""
    times: Float[np.ndarray, "frames"]
    """Time of each frame [ps]; restarts in each segment."""
    forces: Float[np.ndarray, "frames sites 3"] | None = None
    """Force on each site [kJ/mol/nm]."""
    velocities: Float[np.ndarray, "frames sites 3"] | None = None
    """Site velocities [nm/ps]."""
    cell: Float[np.ndarray, "frames 3 3"] | None = None
    """Cell vectors as rows [nm], or None for an open system."""
    energy: Float[np.ndarray, "frames"] | None = None
    """Potential energy [kJ/mol]."""
    virial: Float[np.ndarray, "frames 3 3"] | None = None
    """Molecular virial [kJ/mol]: minus the strain derivative of the energy under rigid scaling of molecule centres."""
    segment: Int[np.ndarray, "frames"] | None = None
    """Run, replica or file of each frame; blocks and time lags never cross it."""
    temperature: Float[np.ndarray, "frames"] | None = None
    """Temperature of each frame [K], where replicas had several; None: that of the state point."""
    weight: Float[np.ndarray, "frames"] | None = None
    """Statistical weight of each frame, for reweighted data."""
    n_averaged: Int[np.ndarray, "frames"] | None = None
    """Number of instantaneous forces averaged in each label."""
    force_noise: Float[np.ndarray, "frames sites"] | None = None
    """Standard error of each averaged force component [kJ/mol/nm]."""
    response_forces: Float[np.ndarray, "frames sites 3"] | None = None
    """Thermal response force of each site, F_S = T grad S = Cov(f, u)/kT at fixed beads [kJ/mol/nm]."""
    response_noise: Float[np.ndarray, "frames sites"] | None = None
    """Standard error of each response force component [kJ/mol/nm]."""
    energy_noise: Float[np.ndarray, "frames"] | None = None
    """Standard error of each averaged energy [kJ/mol]."""
    energy_variance: Float[np.ndarray, "frames"] | None = None
    """Variance of the atomistic energy at fixed beads [(kJ/mol)²]."""

    def __post_init__(self) -> None:
        """Check that all arrays have the same frames and sites.

        Raises
        ------
        InputError : a shape does not match.
        """
        n_frames, n_sites = len(self.times), self.topology.n_sites
        expected = {
            "positions": (n_frames, n_sites, 3),
            "forces": (n_frames, n_sites, 3),
            "velocities": (n_frames, n_sites, 3),
            "response_forces": (n_frames, n_sites, 3),
            "force_noise": (n_frames, n_sites),
            "response_noise": (n_frames, n_sites),
            "cell": (n_frames, 3, 3),
            "virial": (n_frames, 3, 3),
        }
        for field in frame_fields():
            array = getattr(self, field)
            shape = expected.get(field, (n_frames,))
            if array is not None and array.shape != shape:
                raise InputError(
                    f"trajectory field '{field}' has shape {array.shape}, expected {shape} "
                    f"for {n_frames} frames of {n_sites} sites",
                    fix="Pass the topology that the frames were written with.",
                )

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return len(self.times)

    @property
    def n_sites(self) -> int:
        """Number of sites in a frame."""
        return self.topology.n_sites

    def select(self, frames: slice | np.ndarray) -> "Trajectory":
        """Return the given frames (a slice, index array or mask) as a new trajectory."""
        chosen = {field: getattr(self, field) for field in frame_fields()}
        return replace(self, **{name: array[frames] for name, array in chosen.items() if array is not None})

    def volumes(self) -> Float[np.ndarray, "frames"]:
        """Return the volume of each frame's cell [nm³].

        Raises
        ------
        InputError : the trajectory has no cell.
        """
        if self.cell is None:
            raise InputError("the trajectory has no periodic cell, so it has no volume")
        return np.abs(np.linalg.det(self.cell.astype(np.float64)))


def frame_fields() -> tuple[str, ...]:
    """Return the names of the trajectory fields that hold one entry per frame."""
    return tuple(field.name for field in fields(Trajectory) if field.name not in ("topology", "state_point"))


def join_trajectories(parts: list[Trajectory]) -> Trajectory:
    """Return the frames of several trajectories of one topology and state point as one trajectory.

    Fields that are missing from any part are dropped. Parts keep their own segments if they have them.

    Raises
    ------
    InputError : no part is given, or the parts have different site counts or state points.
    """
    if not parts:
        raise InputError("no trajectory to join")
    first = parts[0]
    for part in parts[1:]:
        if part.n_sites != first.n_sites or part.state_point != first.state_point:
            raise InputError("only trajectories of one topology and one state point can be joined")
    joined: dict[str, np.ndarray] = {}
    for field in frame_fields():
        arrays = [getattr(part, field) for part in parts]
        if all(array is not None for array in arrays):
            joined[field] = np.concatenate(arrays)
    return Trajectory(topology=first.topology, state_point=first.state_point, **joined)
