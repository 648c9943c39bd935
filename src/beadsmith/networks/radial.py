"""Radial functions: how strongly a neighbour at a given distance counts."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

N_CLASSES = 5
"""Classes of pairs: two molecules, 1-2, 1-3, 1-4, and farther in one molecule; see `beadsmith.neighbors`."""


def cosine_squared_cutoff(distances: Float[Tensor, "pairs"], cutoff: float) -> Float[Tensor, "pairs"]:
    """Return cos²(π r / 2 r_c) inside the cutoff and zero beyond; value and slope vanish at the cutoff [nm]."""
    values = torch.cos(distances * (0.5 * math.pi / cutoff)) ** 2
    # not `<`: a distance that is not a number must reach the energy, where a simulation notices it
    return torch.where(distances >= cutoff, torch.zeros_like(values), values)


class InverseSensitivities(nn.Module):
    """Trainable Gaussians in the inverse distance, times a cutoff function.

    s_ν(r) = α_cν exp(−½ σ_ν² (1/r − 1/μ_ν)²) cos²(π r / 2 r_c), with α = 1 unless classes c of pairs act differently.

    Source: Lubbers, Smith, Barros, J. Chem. Phys. 148, 241715 (2018), doi 10.1063/1.5011181.
    """

    def __init__(
        self, n_sensitivities: int, *, soft_min: float, soft_max: float, cutoff: float, has_classes: bool = False
    ) -> None:
        """Space the centres evenly in 1/r.

        Parameters
        ----------
        n_sensitivities : Number K of functions.
        soft_min, soft_max : Smallest and largest centre [nm].
        cutoff : Distance beyond which all functions are zero [nm].
        has_classes : Whether each class of pairs has its own trainable amplitudes.
        """
        super().__init__()
        self.cutoff = cutoff
        self.centres = nn.Parameter(1.0 / torch.linspace(1.0 / soft_max, 1.0 / soft_min, n_sensitivities))
        """Centres μ [nm]."""
        self.widths = nn.Parameter(torch.full((n_sensitivities,), 2.0 * n_sensitivities * soft_min))
        """Inverse widths σ [nm] of the Gaussians in 1/r."""

        self.amplitudes = nn.Parameter(torch.ones(N_CLASSES, n_sensitivities)) if has_classes else None
        """Amplitudes α of each class of pairs (classes, functions), or None where all are one."""

    def exponents(
        self,
    ) -> tuple[Float[Tensor, "sensitivities"], Float[Tensor, "sensitivities"], Float[Tensor, "classes sensitivities"]]:
        """Return c = 1/μ [1/nm] and w = σ²/2 [nm²] of α exp(−w (1/r − c)²), and α; one row of ones without classes."""
        amplitudes = self.centres.new_ones(1, len(self.centres)) if self.amplitudes is None else self.amplitudes
        return 1.0 / self.centres, 0.5 * self.widths**2, amplitudes

    def forward(
        self, distances: Float[Tensor, "pairs"], bond_class: Int[Tensor, "pairs"]
    ) -> Float[Tensor, "pairs sensitivities"]:
        """Return all functions at the given distances [nm]; the classes count only where they have amplitudes."""
        offsets = self.widths * (1.0 / distances[:, None] - 1.0 / self.centres)
        values = torch.exp(-0.5 * offsets**2) * cosine_squared_cutoff(distances, self.cutoff)[:, None]
        return values if self.amplitudes is None else values * self.amplitudes.index_select(0, bond_class)
