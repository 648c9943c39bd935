"""Radial functions: how strongly a neighbour at a given distance counts."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn


def cosine_squared_cutoff(distances: Float[Tensor, "pairs"], cutoff: float) -> Float[Tensor, "pairs"]:
    """Return cos²(π r / 2 r_c) inside the cutoff and zero beyond; value and slope vanish at the cutoff [nm]."""
    values = torch.cos(distances * (0.5 * math.pi / cutoff)) ** 2
    # not `<`: a distance that is not a number must reach the energy, where a simulation notices it
    return torch.where(distances >= cutoff, torch.zeros_like(values), values)


class InverseSensitivities(nn.Module):
    """Trainable Gaussians in the inverse distance, times a cutoff function.

    s_ν(r) = exp(−½ σ_ν² (1/r − 1/μ_ν)²) cos²(π r / 2 r_c)

    Source: Lubbers, Smith, Barros, J. Chem. Phys. 148, 241715 (2018), doi 10.1063/1.5011181.
    """

    def __init__(self, n_sensitivities: int, *, soft_min: float, soft_max: float, cutoff: float) -> None:
        """Space the centres evenly in 1/r.

        Parameters
        ----------
        n_sensitivities : Number K of functions.
        soft_min, soft_max : Smallest and largest centre [nm].
        cutoff : Distance beyond which all functions are zero [nm].
        """
        super().__init__()
        self.cutoff = cutoff
        self.centres = nn.Parameter(1.0 / torch.linspace(1.0 / soft_max, 1.0 / soft_min, n_sensitivities))
        """Centres μ [nm]."""
        self.widths = nn.Parameter(torch.full((n_sensitivities,), 2.0 * n_sensitivities * soft_min))
        """Inverse widths σ [nm] of the Gaussians in 1/r."""

    def exponents(self) -> tuple[Float[Tensor, "sensitivities"], Float[Tensor, "sensitivities"]]:
        """Return c = 1/μ [1/nm] and w = σ²/2 [nm²] of exp(−w (1/r − c)²)."""
        return 1.0 / self.centres, 0.5 * self.widths**2

    def forward(self, distances: Float[Tensor, "pairs"]) -> Float[Tensor, "pairs sensitivities"]:
        """Return all functions at the given distances [nm]."""
        offsets = self.widths * (1.0 / distances[:, None] - 1.0 / self.centres)
        return torch.exp(-0.5 * offsets**2) * cosine_squared_cutoff(distances, self.cutoff)[:, None]
