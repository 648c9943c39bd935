"""The layers of HIP-NN-TS between two sums over neighbours: everything here acts on each site alone."""

import math
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from beadsmith.networks.angular import squared_norms
from beadsmith.networks.radial import InverseSensitivities


def linear(n_in: int, n_out: int, *, bias: bool = True) -> nn.Linear:
    """Return a linear layer without touching the global random state; weights are zero until initialised."""
    layer = nn.utils.skip_init(nn.Linear, n_in, n_out, bias=bias)
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def initialise_linear_(layer: nn.Linear, generator: torch.Generator, *, xavier: bool = False) -> None:
    """Draw torch's default weights and bias, or Xavier normal weights, from an explicit generator."""
    bound = 1.0 / math.sqrt(layer.in_features)
    if xavier:
        nn.init.xavier_normal_(layer.weight, generator=generator)
    else:
        nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
    if layer.bias is not None:
        nn.init.uniform_(layer.bias, -bound, bound, generator=generator)


class Interaction(nn.Module):
    """Combine the tensor environments of a site into scalar features.

    I_a = E⁰_a + Σ_l t^l_a √(|E^l_a|² + ε) + Σ_b W_ab z_b + b_a,  E^l_a = Σ_νb V_νab A^l_νb (one V for all ranks).

    Source: Chigaev et al., J. Chem. Phys. 158, 184108 (2023), doi 10.1063/5.0142127.
    """

    def __init__(self, n_in: int, n_out: int, sensitivities: InverseSensitivities, l_max: int, cusp: float) -> None:
        """Make a layer from `n_in` to `n_out` features; `cusp` is ε."""
        super().__init__()
        self.l_max, self.cusp = l_max, cusp
        self.sensitivities = sensitivities
        self.weights = nn.Parameter(torch.zeros(len(sensitivities.centres), n_out, n_in))
        """V, shape (sensitivities, n_out, n_in)."""
        self.tensor_scales = nn.Parameter(torch.zeros(l_max, n_out))
        """t, one row for each rank."""
        self.self_interaction = linear(n_in, n_out)

    def initialise_(self, generator: torch.Generator) -> None:
        """Draw V and W Xavier normal, t standard normal."""
        nn.init.xavier_normal_(self.weights, generator=generator)
        nn.init.normal_(self.tensor_scales, generator=generator)
        initialise_linear_(self.self_interaction, generator, xavier=True)

    def project(self, features: Float[Tensor, "sites inputs"]) -> Float[Tensor, "sites sensitivities features"]:
        """Return Q[j,ν,a] = Σ_b V_νab z_jb: what site j sends to its neighbours."""
        n_sensitivities, n_out, n_in = self.weights.shape
        return functional.linear(features, self.weights.reshape(-1, n_in)).unflatten(1, (n_sensitivities, n_out))

    def project_back(self, adjoint: Float[Tensor, "sites sensitivities features"]) -> Float[Tensor, "sites inputs"]:
        """Return the derivative by the features z from the derivative by what they are projected on."""
        return adjoint.flatten(1) @ self.weights.reshape(-1, self.weights.shape[2])

    def contract(
        self, environment: Float[Tensor, "sites components inputs sensitivities"]
    ) -> Float[Tensor, "sites components features"]:
        """Return E[i,m,a] = Σ_νb V_νab A[i,m,b,ν]."""
        n_sensitivities, n_out, n_in = self.weights.shape
        return environment.flatten(2) @ self.weights.permute(2, 0, 1).reshape(n_in * n_sensitivities, n_out)

    def forward(
        self, features: Float[Tensor, "sites inputs"], tensors: Float[Tensor, "sites components features"]
    ) -> Float[Tensor, "sites features"]:
        """Return I from the features of a site and its tensor environments E."""
        total = tensors[:, 0] + self.self_interaction(features)
        for scale, norm in zip(self.tensor_scales, squared_norms(tensors, self.l_max), strict=True):
            total = total + scale * torch.sqrt(norm + self.cusp)
        return total


class Residual(nn.Module):
    """Finish any layer: y = P x + R softplus(layer output) + c, with P = 1 where the sizes match."""

    def __init__(self, n_in: int, n_out: int) -> None:
        """Make the wrapper of a layer from `n_in` to `n_out` features."""
        super().__init__()
        self.projection = None if n_in == n_out else linear(n_in, n_out, bias=False)
        self.output = linear(n_out, n_out)

    def initialise_(self, generator: torch.Generator) -> None:
        """Draw R, c and P from torch's default distribution."""
        initialise_linear_(self.output, generator)
        if self.projection is not None:
            initialise_linear_(self.projection, generator)

    def forward(
        self, features: Float[Tensor, "sites inputs"], inner: Float[Tensor, "sites features"]
    ) -> Float[Tensor, "sites features"]:
        """Return y from the layer's input and its output."""
        shortcut = features if self.projection is None else self.projection(features)
        return shortcut + self.output(functional.softplus(inner))


class AtomLayer(nn.Module):
    """A linear layer with a residual wrapper: acts on each site alone."""

    def __init__(self, n_features: int) -> None:
        """Make a layer that keeps the number of features."""
        super().__init__()
        self.layer = linear(n_features, n_features)
        self.residual = Residual(n_features, n_features)

    def initialise_(self, generator: torch.Generator) -> None:
        """Draw the inner weights Xavier normal."""
        initialise_linear_(self.layer, generator, xavier=True)
        self.residual.initialise_(generator)

    def forward(self, features: Float[Tensor, "sites features"]) -> Float[Tensor, "sites features"]:
        """Return the features after this layer."""
        return self.residual(features, self.layer(features))


class Block(nn.Module):
    """One interaction followed by layers that act on each site alone, all with residual wrappers."""

    def __init__(self, interaction: Interaction, n_atom_layers: int) -> None:
        """Append `n_atom_layers` layers to an interaction."""
        super().__init__()
        _, n_out, n_in = interaction.weights.shape
        self.interaction = interaction
        self.residual = Residual(n_in, n_out)
        self.atom_layers = nn.Sequential(*(AtomLayer(n_out) for _ in range(n_atom_layers)))

    def initialise_(self, generator: torch.Generator) -> None:
        """Draw all weights."""
        self.interaction.initialise_(generator)
        self.residual.initialise_(generator)
        for layer in self.atom_layers:
            cast("AtomLayer", layer).initialise_(generator)

    def linear_layers(self) -> list[nn.Linear]:
        """Return all square linear layers in the order in which they act, starting with R of the interaction."""
        layers = [self.residual.output]
        for layer in self.atom_layers:
            layers += [cast("AtomLayer", layer).layer, cast("AtomLayer", layer).residual.output]
        return layers

    def forward(
        self, features: Float[Tensor, "sites inputs"], tensors: Float[Tensor, "sites components features"]
    ) -> Float[Tensor, "sites features"]:
        """Return the block's features from its input features and tensor environments."""
        return self.atom_layers(self.residual(features, self.interaction(features, tensors)))
