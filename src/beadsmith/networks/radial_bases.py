"""Fixed radial bases: what a network knows of a distance. Plain torch, differentiable, on any device."""

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

BasisName = Literal["gaussian", "exponential_normal", "bessel"]
"""The radial bases to choose from."""


def cosine_cutoff(distances: Float[Tensor, "pairs"], cutoff: float) -> Float[Tensor, "pairs"]:
    """Return f_c(r) = ½ (1 + cos(π r / r_c)) inside the cutoff and zero beyond; value and slope vanish at r_c [nm]."""
    values = 0.5 * (torch.cos(distances * (math.pi / cutoff)) + 1.0)
    # not `<`: a distance that is not a number must reach the energy, where a simulation notices it
    return torch.where(distances >= cutoff, torch.zeros_like(values), values)


class GaussianBasis(nn.Module):
    """Gaussians with evenly spaced centres, as wide as their spacing: e_k(r) = exp(−(r − μ_k)² / 2 Δ²).

    Source: Schütt et al., J. Chem. Phys. 148, 241722 (2018), doi 10.1063/1.5019779.
    """

    def __init__(self, n_functions: int, *, start: float, cutoff: float) -> None:
        """Put the first centre at `start` and the last at `cutoff` [nm]."""
        super().__init__()
        self.n_functions, self.start, self.cutoff = n_functions, start, cutoff

    def forward(self, distances: Float[Tensor, "pairs"]) -> Float[Tensor, "pairs functions"]:
        """Return all functions at the given distances [nm]."""
        exponent = -0.5 * ((self.n_functions - 1) / (self.cutoff - self.start)) ** 2
        centres = _spread(self.start, self.cutoff, self.n_functions, distances)
        return torch.exp(exponent * (distances[:, None] - centres) ** 2)


class ExponentialNormalBasis(nn.Module):
    """Gaussians in the exponential of the distance, narrow at short and wide at long distances.

    e_k(r) = exp(−β (e^{α (r₀ − r)} − μ_k)²), α = 5 / (r_c − r₀), K centres μ_k evenly from e⁻⁵ to 1,
    β = [2 (1 − e⁻⁵) / K]⁻². The original multiplies each function by the cutoff function; here the network does.

    Source: Unke, Meuwly, J. Chem. Theory Comput. 15, 3678 (2019), doi 10.1021/acs.jctc.9b00181, equation 7.
    """

    def __init__(self, n_functions: int, *, start: float, cutoff: float) -> None:
        """Let the exponential fall from 1 at r₀ = `start` to e⁻⁵ at `cutoff` [nm]."""
        super().__init__()
        self.n_functions, self.start, self.cutoff = n_functions, start, cutoff

    def forward(self, distances: Float[Tensor, "pairs"]) -> Float[Tensor, "pairs functions"]:
        """Return all functions at the given distances [nm]."""
        last = math.exp(-5.0)
        exponent = -((2.0 * (1.0 - last) / self.n_functions) ** -2)
        centres = _spread(last, 1.0, self.n_functions, distances)
        decayed = torch.exp((5.0 / (self.cutoff - self.start)) * (self.start - distances))
        return torch.exp(exponent * (decayed[:, None] - centres) ** 2)


class BesselBasis(nn.Module):
    """Spherical Bessel functions that vanish at the cutoff: e_k(r) = √(2/r_c) sin(k π r / r_c) / r, k = 1..K.

    Their unit is that of the source, Å^-3/2: in nm^-3/2 they would be 32 times as large and saturate activations.
    Source: Gasteiger, Groß, Günnemann, ICLR (2020), arXiv 2003.03123, equation 7.
    """

    def __init__(self, n_functions: int, *, cutoff: float) -> None:
        """Make K functions for distances up to `cutoff` [nm]."""
        super().__init__()
        self.n_functions, self.cutoff = n_functions, cutoff

    def forward(self, distances: Float[Tensor, "pairs"]) -> Float[Tensor, "pairs functions"]:
        """Return all functions [Å^-3/2] at the given distances [nm]."""
        r = distances[:, None]
        wave_numbers = _spread(math.pi / self.cutoff, self.n_functions * math.pi / self.cutoff, self.n_functions, r)
        return (10.0**-1.5 * math.sqrt(2.0 / self.cutoff)) * torch.sin(r * wave_numbers) / r


def build_radial_basis(name: BasisName, n_functions: int, *, start: float, cutoff: float) -> nn.Module:
    """Return the basis of the given name; Bessel functions have no start."""
    if name == "bessel":
        return BesselBasis(n_functions, cutoff=cutoff)
    if name == "exponential_normal":
        return ExponentialNormalBasis(n_functions, start=start, cutoff=cutoff)
    return GaussianBasis(n_functions, start=start, cutoff=cutoff)


def _spread(first: float, last: float, n: int, like: Tensor) -> Tensor:
    """Return n even steps; made anew in the precision of each call, because a rounded copy would spoil float64."""
    return torch.linspace(first, last, n, dtype=like.dtype, device=like.device)
