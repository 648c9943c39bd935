"""What the force labels of a reference say about themselves: size, mean, and whether frames repeat each other."""

import numpy as np
from jaxtyping import Float

from beadsmith.analysis.distribution import Measurement
from beadsmith.errors import InputError
from beadsmith.statistics import mean_and_error
from beadsmith.trajectory import Trajectory


def sum_force_moments(trajectory: Trajectory) -> dict[str, Float[np.ndarray, "sums"]]:
    """Return sums over the frames of one block, by site type, from which `measure_forces` makes its numbers.

    Per type: number of site frames, Σ f (3), Σ |f|², number of neighbouring frame pairs, Σ f(t)·f(t + 1 frame).

    Raises
    ------
    InputError : the trajectory has no forces.
    """
    if trajectory.forces is None:
        raise InputError("the trajectory has no forces", fix="Save forces in the atomistic run and map it again.")
    forces = trajectory.forces.astype(np.float64)
    sums = {}
    for index, name in enumerate(trajectory.topology.type_names):
        chosen = forces[:, trajectory.topology.types == index]
        if chosen.size == 0:
            continue
        n_sites = chosen.shape[1]
        sums[name] = np.array(
            [
                len(chosen) * n_sites,
                *chosen.sum(axis=(0, 1)),
                np.sum(chosen**2),
                (len(chosen) - 1) * n_sites,
                np.sum(chosen[1:] * chosen[:-1]),
            ]
        )
    return sums


def measure_forces(blocks: list[dict[str, Float[np.ndarray, "sums"]]]) -> dict[str, dict[str, Measurement]]:
    """Return rms force component, largest mean force component and correlation of neighbouring frames, by site type.

    By symmetry the mean force of a liquid is zero; a correlation near 0 means that every frame brings new noise, one
    near 1 that frames repeat each other and count as fewer.
    """
    result = {}
    for name in blocks[0] if blocks else ():
        sums = np.array([block[name] for block in blocks])
        count, mean_square = sums[:, 0], sums[:, 4] / (3.0 * sums[:, 0])
        root = np.sqrt(sums[:, 4].sum() / (3.0 * count.sum()))
        _, square_error = mean_and_error(mean_square)
        means, mean_errors = mean_and_error(sums[:, 1:4] / count[:, None])
        axis = int(np.argmax(np.abs(means)))
        lagged = sums[:, 5] > 0.0
        correlation = sums[lagged, 6] / (3.0 * sums[lagged, 5]) / root**2
        mean_correlation, correlation_error = mean_and_error(correlation) if lagged.any() else (np.nan, np.nan)
        n_blocks = len(blocks)
        result[name] = {
            "rms_component": _force(root, square_error / (2.0 * root) if root > 0.0 else 0.0, n_blocks),
            "mean_component": _force(means[axis], mean_errors[axis], n_blocks),
            "frame_correlation": Measurement(
                value=float(mean_correlation),
                standard_error=float(correlation_error),
                unit="1",
                n_samples=int(lagged.sum()),
            ),
        }
    return result


def _force(value: float, error: float, n_blocks: int) -> Measurement:
    return Measurement(value=float(value), standard_error=float(error), unit="kJ/mol/nm", n_samples=n_blocks)
