"""Activation functions with their slopes, for networks whose adjoint is written out."""

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

ActivationName = Literal["tanh", "shifted_softplus", "silu"]
"""tanh, ln(½ + ½ eᶻ) or z / (1 + e⁻ᶻ)."""

# softplus is the identity beyond: e^-40 is below one rounding of float64
_SOFTPLUS_THRESHOLD = 40.0


def activate(name: ActivationName, z: Tensor) -> Tensor:
    """Return the activation of z."""
    if name == "tanh":
        return torch.tanh(z)
    if name == "silu":
        return functional.silu(z)
    return functional.softplus(z, threshold=_SOFTPLUS_THRESHOLD) - math.log(2.0)


def activate_with_slope(name: ActivationName, z: Tensor) -> tuple[Tensor, Tensor]:
    """Return the activation of z and its derivative, both differentiable."""
    if name == "tanh":
        value = torch.tanh(z)
        return value, 1.0 - value * value
    sigmoid = torch.sigmoid(z)
    if name == "silu":
        value = z * sigmoid
        return value, sigmoid + value * (1.0 - sigmoid)
    return activate(name, z), sigmoid
