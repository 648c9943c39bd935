"""The layers of MACE: radial functions, and everything that happens on each site between two sums over neighbours.

On a site, components come first (components, sites, channels), so that each degree is one block of memory and all
mixing of channels is one matrix product a degree. Sweeps over neighbours want each site's features side by side.
"""

import itertools
import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from beadsmith.kernels.mace import build_paths
from beadsmith.networks.contraction import SymmetricContraction
from beadsmith.networks.coupling import CouplingPath, coupling
from beadsmith.networks.radial_bases import BesselBasis
from beadsmith.networks.radial_table import RadialTable
from beadsmith.networks.spherical_harmonics import n_components

# 1 / √<silu(x)²> of normal x is 1.6765; this is what the reference draws at random, so that its weights carry over
SILU_SCALE = 1.6791767923989418


class RadialNetwork(nn.Module):
    """R_pk(r): Bessel functions times an envelope, through layers without bias, to each path and channel.

    The bond class of the pair, one-hot and times the envelope, is a further input where classes are distinguished.
    Everything vanishes at the cutoff with two derivatives, because no layer has a bias.
    """

    def __init__(self, n_radial: int, *, widths: tuple[int, ...], cutoff: float, power: int, n_classes: int) -> None:
        """Make a network.

        Parameters
        ----------
        n_radial : Number of Bessel functions.
        widths : Widths of all layers; the last one is that of the output.
        cutoff : Distance at which all functions vanish [nm].
        power : Power p of the envelope.
        n_classes : Number of bond classes to tell apart; 1 ignores them.
        """
        super().__init__()
        self.cutoff, self.power, self.n_classes = cutoff, power, n_classes
        self.basis = BesselBasis(n_radial, cutoff=cutoff)
        shapes = itertools.pairwise([n_radial + (n_classes if n_classes > 1 else 0), *widths])
        self.weights = nn.ParameterList(torch.zeros(*shape) for shape in shapes)

    def forward(
        self, distances: Float[Tensor, "pairs"], classes: Int[Tensor, "pairs"]
    ) -> Float[Tensor, "pairs outputs"]:
        """Return R at distances [nm], for the bond class of each."""
        inputs = self.basis(distances)
        if self.n_classes > 1:
            inputs = torch.cat([inputs, functional.one_hot(classes, self.n_classes).to(inputs.dtype)], dim=1)
        values = inputs * envelope(distances, self.cutoff, self.power)[:, None]
        *hidden, last = self.weights
        for weight in hidden:
            values = scaled_silu(mix(values, weight))
        return mix(values, last)

    def tabulate(self, table: RadialTable) -> Float[Tensor, "classes knots outputs"]:
        """Return spline coefficients of R, one table for each bond class, differentiably."""
        like = self.weights[0]

        def values_of(k: int) -> Tensor:
            return table.tabulate(lambda r: self(r, torch.full(r.shape, k, device=r.device)), like)

        return torch.stack([values_of(k) for k in range(self.n_classes)])


class MaceLayer(nn.Module):
    """One layer: messages, their sum over neighbours (outside), symmetric products and a residual term."""

    def __init__(
        self,
        paths: tuple[CouplingPath, ...],
        radial: RadialNetwork,
        contraction: SymmetricContraction,
        *,
        average_neighbors: float,
        is_plain: bool,
    ) -> None:
        """Make a layer.

        Parameters
        ----------
        paths : Couplings of features and harmonics; they say which degrees enter.
        radial : R of each path and channel.
        contraction : Products; they say which degrees leave, and how many types and channels there are.
        average_neighbors : Number by which sums over neighbours are divided.
        is_plain : Whether the sums are mixed by type, and no term of the entering features is added.
        """
        super().__init__()
        self.paths, self.radial, self.contraction = paths, radial, contraction
        self.average_neighbors, self.is_plain = average_neighbors, is_plain
        self.tensor_paths = build_paths(paths, [coupling(*path) for path in paths])
        n_types, _, n = contraction.weights[0].shape
        l_max_in = max(path.feature_degree for path in paths)
        self.up = nn.Parameter(torch.zeros(l_max_in + 1, n, n))
        """What each degree of a neighbour's features sends."""
        self.down = nn.ParameterList(torch.zeros(self._n_paths_to(k) * n, n) for k in range(contraction.l_max + 1))
        """What each degree of A takes from all paths and channels."""
        l_max_skip = contraction.l_max if is_plain else min(l_max_in, contraction.l_max_out)
        self.skip = nn.Parameter(torch.zeros(l_max_skip + 1, n_types, n, n))
        """By type: of A in a plain layer, of the entering features in a residual one."""
        self.out = nn.Parameter(torch.zeros(contraction.l_max_out + 1, n, n))
        """What each degree takes from the products."""

    def _n_paths_to(self, degree: int) -> int:
        return sum(path.message_degree == degree for path in self.paths)

    def project(
        self, features: Float[Tensor, "components sites channels"]
    ) -> Float[Tensor, "sites components channels"]:
        """Return what sites send to their neighbours, channels side by side for each site and component."""
        return mix_degrees(features, self.up).transpose(0, 1).contiguous()

    def project_back(
        self, adjoint: Float[Tensor, "sites components channels"]
    ) -> Float[Tensor, "components sites channels"]:
        """Return the derivative by the features from the derivative by what they are projected on."""
        return mix_degrees(adjoint.transpose(0, 1), self.up.transpose(1, 2))

    def update(
        self,
        features: Float[Tensor, "components sites channels"],
        sums: Float[Tensor, "sites results channels"],
        types: Int[Tensor, "sites"],
        *,
        is_fused: bool = False,
    ) -> Float[Tensor, "results sites channels"]:
        """Return a site's features after the layer from those before it and from its sums over neighbours.

        Fused products come from compiled code, which can be differentiated twice, the second time once only.
        """
        basis = self._one_particle_basis(sums)
        if self.is_plain:
            basis = mix_by_type(basis, self.skip, types)
        contract = self.contraction.fused if is_fused else self.contraction
        products = mix_degrees(contract(basis, types), self.out)
        if self.is_plain:
            return products
        residual = mix_by_type(features[: n_components(len(self.skip) - 1)], self.skip, types)
        return products + functional.pad(residual, (0, 0, 0, 0, 0, len(products) - len(residual)))

    def _one_particle_basis(self, sums: Tensor) -> Float[Tensor, "components sites channels"]:
        """Return A: for each degree all paths and channels that lead to it, mixed."""
        blocks = sums.split([self._n_paths_to(k) * (2 * k + 1) for k in range(len(self.down))], dim=1)
        by_degree = [block.unflatten(1, (-1, 2 * k + 1)).permute(2, 0, 1, 3) for k, block in enumerate(blocks)]
        parts = [mix(block.flatten(2), weight) for block, weight in zip(by_degree, self.down, strict=True)]
        return torch.cat(parts) * (1.0 / self.average_neighbors)


def envelope(distances: Float[Tensor, "pairs"], cutoff: float, power: int) -> Float[Tensor, "pairs"]:
    """Return 1 − (p+1)(p+2)/2 x^p + p(p+2) x^(p+1) − p(p+1)/2 x^(p+2), x = r/r_c: zero with two slopes at the cutoff.

    Source: Gasteiger, Groß, Günnemann, ICLR (2020), arXiv 2003.03123, equation 8.
    """
    x, p = distances / cutoff, power
    bracket = 0.5 * (p + 1) * (p + 2) - p * (p + 2) * x + 0.5 * p * (p + 1) * x * x
    # not `<`: a distance that is not a number must reach the energy
    return torch.where(distances >= cutoff, torch.zeros_like(x), 1.0 - x**p * bracket)


def scaled_silu(values: Tensor) -> Tensor:
    """Return silu(x), scaled to keep the spread of normal values."""
    return SILU_SCALE * functional.silu(values)


def mix(values: Tensor, weight: Float[Tensor, "inputs outputs"]) -> Tensor:
    """Return values · weight / √inputs: with standard normal weights the result has the spread of the values."""
    # one flat product: torch turns products of three-dimensional tensors into many small ones
    flat = values.flatten(0, -2) @ (weight * (1.0 / math.sqrt(len(weight))))
    return flat.view(*values.shape[:-1], weight.shape[1])


def mix_degrees(features: Tensor, weights: Float[Tensor, "degrees inputs outputs"]) -> Tensor:
    """Mix the channels of each degree with its own weights; components come first."""
    # `split` and not slices: their derivative is one concatenation, not a sum of tensors full of zeros
    degrees = features.split([2 * k + 1 for k in range(len(weights))])
    return torch.cat([mix(features, weight) for features, weight in zip(degrees, weights.unbind(), strict=True)])


def mix_by_type(features: Tensor, weights: Float[Tensor, "degrees types inputs outputs"], types: Tensor) -> Tensor:
    """Mix the channels of each degree with weights of the site's type; components come first."""
    scale = weights.shape[1] ** -0.5
    if weights.shape[1] == 1:
        return mix_degrees(features, weights[:, 0]) * scale
    of_sites = functional.one_hot(types, weights.shape[1]).to(features.dtype) * scale
    parts = [mix_degrees(features * of_sites[:, t, None], weights[:, t]) for t in range(weights.shape[1])]
    return torch.stack(parts).sum(0)
