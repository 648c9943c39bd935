"""The independent components of a virial, in which no direction of space counts more than another."""

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

N_COMPONENTS = 6
"""Independent components of a symmetric tensor."""

_A, _B, _C = 1.0 / math.sqrt(3.0), 1.0 / math.sqrt(2.0), 1.0 / math.sqrt(6.0)

_BASIS = np.array(
    [
        [[_A, 0.0, 0.0], [0.0, _A, 0.0], [0.0, 0.0, _A]],
        [[_B, 0.0, 0.0], [0.0, -_B, 0.0], [0.0, 0.0, 0.0]],
        [[-_C, 0.0, 0.0], [0.0, -_C, 0.0], [0.0, 0.0, 2.0 * _C]],
        [[0.0, _B, 0.0], [_B, 0.0, 0.0], [0.0, 0.0, 0.0]],
        [[0.0, 0.0, _B], [0.0, 0.0, 0.0], [_B, 0.0, 0.0]],
        [[0.0, 0.0, 0.0], [0.0, 0.0, _B], [0.0, _B, 0.0]],
    ]
)
"""Orthonormal basis of the symmetric tensors, the isotropic one first."""


def to_components(virials: Float[Tensor, "systems 3 3"]) -> Float[Tensor, "systems 6"]:
    """Return the components of virials in an orthonormal basis, tr/√3 first [kJ/mol].

    Their sum of squares is that of all nine entries, whatever the axes.
    """
    basis = torch.from_numpy(_BASIS).to(virials.device, virials.dtype)
    return torch.einsum("sxy,cxy->sc", virials, basis)


def virial_components(virials: Float[np.ndarray, "frames 3 3"]) -> Float[np.ndarray, "frames 6"]:
    """Return what `to_components` does, for arrays."""
    return np.einsum("sxy,cxy->sc", virials, _BASIS)
