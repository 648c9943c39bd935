"""Averages over the atomistic configurations of one bead configuration (its fibre), with their errors.

With the mapped force f, the potential energy u and <.> the average at fixed beads R: F = <f> is the mean force,
F_S = Cov(f, u)/kT the thermal response force T grad S, U = <u> the energy, and Var(u)/kT² the heat capacity dU/dT.
Errors come from blocks of the series, left out one at a time, so the samples may be correlated within a block.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from beadsmith.errors import InputError
from beadsmith.statistics import leave_one_out_error
from beadsmith.units import thermal_energy

N_BLOCKS = 10
"""Blocks of a series; errors from ten are themselves known to a quarter."""


@dataclass(frozen=True, kw_only=True)
class FibreAverages:
    """What a run at fixed beads says about them."""

    n_samples: int
    """Number of configurations."""
    force: Float[np.ndarray, "beads 3"]
    """F [kJ/mol/nm]."""
    force_noise: Float[np.ndarray, "beads"]
    """Standard error of a component of F [kJ/mol/nm]."""
    force_variance: Float[np.ndarray, "beads"]
    """Variance of a component of the instantaneous force [(kJ/mol/nm)²]: the noise of ordinary labels."""
    response: Float[np.ndarray, "beads 3"]
    """F_S [kJ/mol/nm]."""
    response_noise: Float[np.ndarray, "beads"]
    """Standard error of a component of F_S [kJ/mol/nm]."""
    energy: float
    """U [kJ/mol]."""
    energy_noise: float
    """Standard error of U [kJ/mol]."""
    energy_variance: float
    """Var(u) [(kJ/mol)²]."""
    energy_variance_noise: float
    """Its standard error [(kJ/mol)²]."""
    second_response: Float[np.ndarray, "beads 3"]
    """d²F/db² with b = 1/kT: the third joint cumulant of f, u and u [(kJ/mol)³/nm]."""
    second_response_noise: Float[np.ndarray, "beads"]
    """Standard error of a component of d²F/db² [(kJ/mol)³/nm]."""


def average_fibre(
    forces: Float[np.ndarray, "samples beads 3"],
    energies: Float[np.ndarray, "samples"],
    *,
    temperature: float,
    n_blocks: int = N_BLOCKS,
) -> FibreAverages:
    """Return the averages of a series at fixed beads.

    Covariances and the third cumulant are corrected for the bias of few samples by leaving out blocks.

    Parameters
    ----------
    forces : Mapped instantaneous forces [kJ/mol/nm].
    energies : Potential energies of the same configurations [kJ/mol].
    temperature : Temperature of the run [K].
    n_blocks : Number of contiguous blocks, each longer than the memory of the series.

    Raises
    ------
    InputError : fewer samples than two a block.
    """
    n_samples, n_beads, _ = forces.shape
    if n_samples < 2 * n_blocks:
        raise InputError(f"{n_samples} samples at fixed beads are too few, expected at least {2 * n_blocks}")
    flat = forces.reshape(n_samples, -1).astype(np.float64)
    centre, level = flat.mean(axis=0), float(np.mean(energies))
    # about the means: products of large numbers would lose the small differences
    df, du = flat - centre, energies - level
    sums = np.stack([_sum_products(df[block], du[block]) for block in np.array_split(np.arange(n_samples), n_blocks)])
    counts = np.array([len(block) for block in np.array_split(np.arange(n_samples), n_blocks)], dtype=np.float64)
    whole = _find_cumulants(sums.sum(axis=0) / n_samples)
    left_out = np.stack(
        [_find_cumulants((sums.sum(axis=0) - own) / (n_samples - n)) for own, n in zip(sums, counts, strict=True)]
    )
    errors = leave_one_out_error(left_out.reshape(n_blocks, -1)).reshape(whole.shape)
    corrected = n_blocks * whole - (n_blocks - 1) * left_out.mean(axis=0)
    kT = thermal_energy(temperature)

    def by_bead(values: np.ndarray) -> np.ndarray:
        return values.reshape(n_beads, 3)

    def spread(values: np.ndarray) -> np.ndarray:
        """Return the root mean square over components."""
        return np.sqrt(np.mean(by_bead(values) ** 2, axis=1))

    return FibreAverages(
        n_samples=n_samples,
        force=by_bead(centre),
        force_noise=spread(errors[_F]),
        force_variance=by_bead(corrected[_FF]).mean(axis=1),
        response=by_bead(corrected[_FU]) / kT,
        response_noise=spread(errors[_FU]) / kT,
        energy=level,
        energy_noise=float(errors[_U, 0]),
        energy_variance=float(corrected[_UU, 0]),
        energy_variance_noise=float(errors[_UU, 0]),
        second_response=by_bead(corrected[_FUU]),
        second_response_noise=spread(errors[_FUU]),
    )


_F, _FF, _FU, _FUU, _U, _UU = range(6)


def _sum_products(
    df: Float[np.ndarray, "samples components"], du: Float[np.ndarray, "samples"]
) -> Float[np.ndarray, "6 components"]:
    """Return sums of f, f², f u, f u², u and u²; those without f are the same for all components."""
    alike = np.ones(df.shape[1])
    return np.stack(
        [df.sum(axis=0), (df**2).sum(axis=0), du @ df, du**2 @ df, du.sum() * alike, float(du @ du) * alike]
    )


def _find_cumulants(means: Float[np.ndarray, "6 components"]) -> Float[np.ndarray, "6 components"]:
    """Return means, variances, Cov(f, u) and the third cumulant from the means of products."""
    f, ff, fu, fuu, u, uu = means
    third = fuu - 2.0 * u * fu - f * uu + 2.0 * f * u**2
    return np.stack([f, ff - f**2, fu - f * u, third, u, uu - u**2])
