"""Compressibility at constant volume: how the number of molecules fluctuates in parts of the cell.

In a cell of constant volume nothing fluctuates but how molecules share it out. Parts of many sizes, with the effects of
the closed cell and of their own surface taken off, give the compressibility that volumes show at constant pressure.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from beadsmith.analysis.distribution import Measurement
from beadsmith.geometry import fractional_coordinates
from beadsmith.statistics import leave_one_out_error
from beadsmith.topology import group_equal_molecules
from beadsmith.trajectory import Trajectory
from beadsmith.units import GIGAPASCAL, thermal_energy

SIDES = np.linspace(0.3, 0.8, 6)
"""Sides of the parts, in units of the cell vectors: smaller ones hold few molecules, larger ones nearly all."""

_ORIGINS = np.stack(np.meshgrid(*[[0.0, 0.5]] * 3, indexing="ij"), axis=-1).reshape(-1, 3)


@dataclass(frozen=True, kw_only=True)
class NumberCounts:
    """Sums over the frames of one block."""

    n_frames: float
    """Number of frames, weighted."""
    numbers: Float[np.ndarray, "sides"]
    """Sum of the number of molecules in a part, averaged over its places."""
    squares: Float[np.ndarray, "sides"]
    """Sum of its square."""
    volume: float
    """Sum of the volumes of the cells [nm³]."""


def count_numbers(trajectory: Trajectory) -> NumberCounts:
    """Count the molecules, by their first sites, in parts of the cell of every frame.

    Raises
    ------
    InputError : the trajectory has no cell.
    """
    molecule = trajectory.topology.molecule_index
    is_first = np.append(True, molecule[1:] != molecule[:-1])
    volumes = trajectory.volumes()
    assert trajectory.cell is not None
    places = fractional_coordinates(trajectory.positions[:, is_first].astype(np.float64), trajectory.cell.astype(float))
    weights = np.ones(trajectory.n_frames) if trajectory.weight is None else trajectory.weight
    numbers, squares = np.zeros(len(SIDES)), np.zeros(len(SIDES))
    for origin in _ORIGINS:
        # the largest of the three coordinates decides whether a molecule is in a part of some side
        reach = ((places - origin) % 1.0).max(axis=2)
        counts = (reach[:, :, None] < SIDES).sum(axis=1).astype(np.float64)
        numbers += weights @ counts / len(_ORIGINS)
        squares += weights @ counts**2 / len(_ORIGINS)
    return NumberCounts(
        n_frames=float(weights.sum()), numbers=numbers, squares=squares, volume=float(weights @ volumes)
    )


def add_numbers(one: NumberCounts, other: NumberCounts) -> NumberCounts:
    """Return the sums of the frames of both."""
    return NumberCounts(**{name: value + getattr(other, name) for name, value in vars(one).items()})


def measure_bulk_compressibility(blocks: list[NumberCounts], *, temperature: float, n_molecules: int) -> Measurement:
    """Return the isothermal compressibility [1/GPa] of a liquid of one kind of molecule at constant volume.

    A part of side λL holds n molecules with χ(λ) = Var(n)/<n>. In a closed cell λ χ(λ) = χ λ (1 − λ³) + c, with the
    bulk χ = ρ kT κ and c from the surface of the part; both are fitted by least squares. The error comes from leaving
    out one block at a time.

    Source: M. Heidari, K. Kremer, R. Potestio and R. Cortes-Huerto, Entropy 20, 222 (2018).
    Limit: the cell must be several correlation lengths wide. Where it is not, volumes at constant pressure say more.

    Parameters
    ----------
    blocks : Counts of contiguous blocks of frames.
    temperature : Temperature [K].
    n_molecules : Number of molecules in the cell.
    """
    total = blocks[0]
    for block in blocks[1:]:
        total = add_numbers(total, block)

    def estimate(counts: NumberCounts) -> float:
        density = n_molecules * counts.n_frames / counts.volume
        return GIGAPASCAL * _fit_bulk(counts) / (density * thermal_energy(temperature))

    rest = [
        estimate(NumberCounts(**{name: value - getattr(block, name) for name, value in vars(total).items()}))
        for block in (blocks if len(blocks) > 1 else [])
    ]
    error = float(leave_one_out_error(np.array(rest)[:, None])[0]) if rest else float("nan")
    return Measurement(value=estimate(total), standard_error=error, unit="1/GPa", n_samples=len(blocks))


def is_measurable(trajectory: Trajectory, *, fewest: int = 64) -> bool:
    """Tell whether there is one kind of molecule, and enough of it, in a periodic cell."""
    topology = trajectory.topology
    return trajectory.cell is not None and topology.n_molecules >= fewest and len(group_equal_molecules(topology)) == 1


def _fit_bulk(counts: NumberCounts) -> float:
    """Return χ of a system without bounds."""
    mean = counts.numbers / counts.n_frames
    variance = counts.squares / counts.n_frames - mean**2
    design = np.stack([SIDES * (1.0 - SIDES**3), np.ones(len(SIDES))], axis=1)
    return float(np.linalg.lstsq(design, SIDES * variance / mean, rcond=None)[0][0])
