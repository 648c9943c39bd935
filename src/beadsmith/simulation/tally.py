"""Running sums over the saved frames: the numbers of the summary, small enough to be part of every checkpoint."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from beadsmith.simulation.barostat import measure_volumes
from beadsmith.simulation.state import State, closest_distances
from beadsmith.statistics import mean_and_error
from beadsmith.units import GRAM_PER_CUBIC_CENTIMETRE

N_BLOCKS = 10
"""Contiguous blocks of frames for the error bar of the kinetic temperature."""


@dataclass(frozen=True, kw_only=True)
class Tally:
    """What is known about the frames saved so far; one column a segment: a replica, or under tempering a rung."""

    temperature_sums: Float[np.ndarray, "blocks replicas"]
    """Sum of the kinetic temperatures of the frames of each block [K]."""
    n_frames: Float[np.ndarray, "blocks replicas"]
    """Number of frames in each block."""
    density_sums: Float[np.ndarray, "blocks replicas"]
    """Sum of the densities of the frames of each block [g/cm³]; 0 for open systems."""
    closest: Float[np.ndarray, "replicas"]
    """Smallest distance between two molecules in any saved frame [nm]."""
    energy_sums: Float[np.ndarray, "sums replicas"]
    """First total energy E0, then the sums of 1, t, t², E − E0 and t (E − E0), in ps and kJ/mol."""


def empty_tally(n_replicas: int) -> Tally:
    """Return the tally before the first frame."""
    return Tally(
        temperature_sums=np.zeros((N_BLOCKS, n_replicas)),
        n_frames=np.zeros((N_BLOCKS, n_replicas)),
        density_sums=np.zeros((N_BLOCKS, n_replicas)),
        closest=np.full(n_replicas, np.inf),
        energy_sums=np.zeros((6, n_replicas)),
    )


def add_frame(
    tally: Tally, state: State, *, columns: np.ndarray, kinetic_temperature: np.ndarray, time: float, block: int
) -> Tally:
    """Return the tally with the frame that the state is.

    Parameters
    ----------
    columns : Segment under which the frame of each replica of the state is saved.
    kinetic_temperature : Of each replica of the state [K].
    time : Time of the frame [ps].
    block : Block of frames that it belongs to.
    """
    sums, counts, closest = tally.temperature_sums.copy(), tally.n_frames.copy(), tally.closest.copy()
    sums[block, columns] += kinetic_temperature
    counts[block, columns] += 1.0
    densities = tally.density_sums.copy()
    if state.system.cell is not None:
        per_volume = float(state.masses.sum()) / GRAM_PER_CUBIC_CENTIMETRE
        densities[block, columns] += per_volume / measure_volumes(state).cpu().numpy()
    closest[columns] = np.minimum(closest[columns], closest_distances(state).cpu().numpy())
    kinetic = 0.5 * (state.masses * state.velocities**2).sum(dim=(1, 2))
    total = (state.energy + kinetic).cpu().numpy()
    energies = tally.energy_sums.copy()
    is_first = energies[1, columns] == 0.0
    energies[0, columns] = np.where(is_first, total, energies[0, columns])
    change = total - energies[0, columns]
    moments = np.array([1.0, time, time**2])[:, None] + 0.0 * change
    energies[1:, columns] += np.concatenate([moments, [change, time * change]])
    return replace(
        tally,
        temperature_sums=sums,
        n_frames=counts,
        density_sums=densities,
        closest=closest,
        energy_sums=energies,
    )


def select_columns(tally: Tally, columns: slice) -> Tally:
    """Return what is known about some of the segments."""
    return Tally(**{name: values[..., columns] for name, values in vars(tally).items()})


def summarise(tally: Tally, *, conserves_energy: bool) -> dict[str, Any]:
    """Return kinetic temperatures [K], densities [g/cm³], closest distances [nm] and energy drifts [kJ/mol/ps] as JSON.

    The drift is the slope of a straight line through the total energy (kinetic of the full-step velocities plus
    potential): the figure of merit of a constant-energy run, and null beside a heat bath, where it means nothing.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        blocks, densities = tally.temperature_sums / tally.n_frames, tally.density_sums / tally.n_frames
        _, count, time, time_square, energy, moment = tally.energy_sums
        drift = (count * moment - time * energy) / (count * time_square - time**2)
    replicas = []
    for number in range(blocks.shape[1]):
        filled = tally.n_frames[:, number] > 0
        replicas.append(
            {
                "replica": number,
                "n_frames": int(tally.n_frames[:, number].sum()),
                "kinetic_temperature": _mean_and_error(blocks[filled, number]),
                "closest_distance": float(tally.closest[number]),
                "energy_drift": float(drift[number]) if conserves_energy else None,
            }
        )
    return {
        "kinetic_temperature": _mean_and_error(blocks[tally.n_frames > 0]),
        "density": _mean_and_error(densities[tally.n_frames > 0]) if tally.density_sums.any() else None,
        "closest_distance": float(tally.closest.min()),
        "replicas": replicas,
    }


def _mean_and_error(blocks: np.ndarray) -> dict[str, float]:
    if not len(blocks):
        return {"mean": np.nan, "standard_error": np.nan}
    mean, error = mean_and_error(blocks)
    return {"mean": float(mean), "standard_error": float(error)}
