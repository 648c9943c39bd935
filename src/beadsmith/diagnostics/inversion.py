"""Inversion of stereocentres: a cheap estimate of the barrier from energies, and the free energy by metadynamics."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from beadsmith.analysis.coordinates import Coordinate
from beadsmith.analysis.distribution import Measurement
from beadsmith.analysis.graph_symmetry import list_neighbours
from beadsmith.analysis.inversion import InversionSettings, compute_waiting_time, find_barrier
from beadsmith.diagnostics.energies import Probe
from beadsmith.diagnostics.permutation import name_bead
from beadsmith.export.metadynamics import (
    BiasedCoordinate,
    FreeEnergyEstimate,
    MetadynamicsSettings,
    run_metadynamics,
)
from beadsmith.force_field import ForceField
from beadsmith.progress import Progress, silent
from beadsmith.statistics import mean_and_error
from beadsmith.topology import Topology
from beadsmith.trajectory import Trajectory
from beadsmith.units import thermal_energy

_N_POINTS = 25
_N_FRAMES, _N_FRAMES_LARGE, _LARGE = 16, 4, 200


@dataclass(frozen=True, kw_only=True)
class InversionPath:
    """The energy on the way of one substituent through the plane of the others."""

    bead: str
    """The bead that moves, and all beads behind it."""
    rise: Measurement
    """Mean over frames of the highest energy on the lower of two paths, over the energy of the frame [kJ/mol]."""
    lowest: float
    """The smallest of any frame [kJ/mol]."""

    def to_json(self) -> dict[str, Any]:
        """Return the estimate as a JSON-ready dictionary."""
        return {
            "bead": self.bead,
            "rise": self.rise.to_json(),
            "lowest": {"value": self.lowest, "unit": "kJ/mol"},
        }


def probe_inversion_path(probe: Probe, centre: Coordinate) -> InversionPath:
    """Move one substituent of a stereocentre to its mirror image, and return how far the energy rises on the way.

    The substituent with the fewest beads behind it (CB of an alanine) is reflected at the plane through the centre and
    the other two. It goes there on a straight line, which makes its bond short in between, and on an arc, which keeps
    the length; the lower of the two counts. All other beads stand still, so the true barrier of the energy is lower.

    Parameters
    ----------
    probe : Force field and frames.
    centre : Signed improper of the stereocentre; its first copy is moved.
    """
    assert centre.sites is not None
    n_frames = _N_FRAMES if probe.frames.n_sites <= _LARGE else _N_FRAMES_LARGE
    chosen = np.unique(np.linspace(0, probe.frames.n_frames - 1, n_frames).astype(np.int64))
    positions = probe.frames.positions[chosen].astype(np.float64)
    a, middle, b, c = centre.sites[0].tolist()
    mover, branch = choose_branch(probe.frames.topology, middle, (a, b, c))
    others = [site for site in (a, b, c) if site != mover]
    highest = []
    for steps in _list_steps(positions[:, [middle, mover, *others]]):
        moved = np.repeat(positions[:, None], _N_POINTS, axis=1)
        moved[:, :, branch] += steps[:, :, None]
        energies = probe.compute_energies(
            moved.reshape(-1, *positions.shape[1:]), np.repeat(chosen, _N_POINTS)
        ).total.reshape(len(chosen), _N_POINTS)
        highest.append(energies.max(axis=1) - energies[:, 0])
    rises = np.minimum(*highest)
    mean, error = mean_and_error(rises)
    return InversionPath(
        bead=name_bead(probe.frames.topology, mover),
        rise=Measurement(value=float(mean), standard_error=float(error), unit="kJ/mol", n_samples=len(rises)),
        lowest=float(rises.min()),
    )


def choose_branch(
    topology: Topology, middle: int, substituents: tuple[int, ...]
) -> tuple[int, Int[np.ndarray, "branch"]]:
    """Return the substituent with the fewest sites behind it, and these sites with it; of a ring it goes alone."""
    neighbours = list_neighbours(topology.n_sites, topology.bonds)
    branches: dict[int, list[int]] = {}
    for start in substituents:
        found, front = {start}, [start]
        while front:
            front = [k for site in front for k in neighbours[site] if k != middle and k not in found]
            found |= set(front)
        is_ring = any(other in found for other in neighbours[middle] if other != start)
        branches[start] = [start] if is_ring else sorted(found)
    # of equally short ones the last: the others are the backbone of a residue
    mover = min(reversed(substituents), key=lambda site: len(branches[site]))
    return mover, np.array(branches[mover], dtype=np.int64)


def _list_steps(
    corners: Float[np.ndarray, "frames 4 3"],
) -> tuple[Float[np.ndarray, "frames points 3"], Float[np.ndarray, "frames points 3"]]:
    """Return the displacements of a substituent to its mirror image on a line and on an arc.

    Parameters
    ----------
    corners : Centre, substituent, and the other two substituents of every frame [nm].
    """
    centre, mover, first, second = (corners[:, k] for k in range(4))
    normal = np.cross(first - centre, second - centre)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    bond = mover - centre
    height = np.sum(bond * normal, axis=-1, keepdims=True)
    along = bond - height * normal
    flat = np.linalg.norm(along, axis=-1, keepdims=True)
    share = np.linspace(0.0, 1.0, _N_POINTS)[None, :, None]
    line = -2.0 * share * (height * normal)[:, None]
    angle = np.arctan2(height, flat)[:, None] * (1.0 - 2.0 * share)
    length = np.hypot(height, flat)[:, None]
    arc = length * (np.cos(angle) * (along / flat)[:, None] + np.sin(angle) * normal[:, None]) - bond[:, None]
    return line, arc


def measure_inversion_barriers(
    force_field: ForceField,
    frames: Trajectory,
    centres: Mapping[str, float],
    settings: InversionSettings,
    *,
    temperature: float,
    seed: int = 1,
    progress: Progress = silent,
) -> dict[str, dict[str, Any]]:
    """Return the free-energy barrier of every stereocentre of one molecule, from well-tempered metadynamics.

    Parameters
    ----------
    force_field : Force field.
    frames : Starts: frames of one molecule, whole; a cell is left out.
    centres : Sign of the native improper of each stereocentre by its name, ``2:CA``.
    settings : The bias.
    temperature : Temperature [K].
    seed : Seed of velocities and noise.
    progress : Receives picoseconds done, of all stereocentres.

    Returns
    -------
    For each stereocentre ``barrier``, ``is_crossed``, ``waiting_time`` and ``profile``, ready for JSON.

    Raises
    ------
    InputError : there is more than one molecule.
    PhysicsError : a run blew up.
    """
    starts = replace(frames, cell=None)
    every = np.linspace(0, frames.n_frames - 1, settings.runs).astype(np.int64)
    found = {}
    for number, (name, hand) in enumerate(centres.items()):
        bias = MetadynamicsSettings(
            coordinates=(BiasedCoordinate(coordinate=name, width=settings.width),),
            timestep=settings.timestep,
            friction=settings.friction,
            duration=settings.duration,
            interval=settings.interval,
            height=settings.height,
            bias_factor=settings.bias_factor,
            runs=settings.runs,
        )

        def report(done: float, total: float, note: str = "", *, before: int = number) -> None:
            progress(before * total + done, len(centres) * total, note or "inversion barrier")

        estimate = run_metadynamics(
            force_field,
            starts.select(every),
            bias,
            temperature=temperature,
            seed=seed + number,
            progress=report,
        )
        found[name] = _describe(estimate, hand, temperature)
    return found


def _describe(estimate: FreeEnergyEstimate, hand: float, temperature: float) -> dict[str, Any]:
    kT, angles = thermal_energy(temperature), estimate.axes[0]
    barriers = [find_barrier(angles, profile, hand=hand, kT=kT) for profile in estimate.runs]
    value, spread = mean_and_error([barrier.height for barrier in barriers])
    return {
        "barrier": Measurement(
            value=float(value), standard_error=float(spread), unit="kJ/mol", n_samples=len(barriers)
        ).to_json(),
        "is_crossed": all(barrier.is_crossed for barrier in barriers),
        "waiting_time": {"value": compute_waiting_time(float(value), temperature), "unit": "ps"},
        "profile": {
            "improper": angles.tolist(),
            "free_energy": estimate.free_energy.tolist(),
            "standard_error": estimate.standard_error.tolist(),
            "units": {"improper": "degree", "free_energy": "kJ/mol"},
        },
    }
