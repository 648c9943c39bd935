"""Cartesian tensors of a direction up to second rank, and the norms of features that carry such tensors.

The traceless symmetric tensor n nᵀ − 1/3 has five independent components: xx, xy, xz, yy, yz.
"""

import torch
from jaxtyping import Float
from torch import Tensor

N_COMPONENTS = (1, 4, 9)
"""Number of components of all tensors up to the given rank."""


def angular_basis(directions: Float[Tensor, "pairs 3"], l_max: int) -> Float[Tensor, "pairs components"]:
    """Return 1, n and n nᵀ − 1/3 (five components) of unit vectors n, up to rank `l_max`."""
    parts = [torch.ones_like(directions[:, :1])]
    if l_max >= 1:
        parts.append(directions)
    if l_max >= 2:
        x, y, z = directions.unbind(1)
        parts.append(torch.stack([x * x - 1.0 / 3.0, x * y, x * z, y * y - 1.0 / 3.0, y * z], dim=1))
    return torch.cat(parts, dim=1)


def squared_norms(tensors: Float[Tensor, "sites components features"], l_max: int) -> list[Tensor]:
    """Return the squared Frobenius norm of each feature's tensors of rank 1 to `l_max`, each (sites, features)."""
    norms = []
    if l_max >= 1:
        norms.append((tensors[:, 1:4] ** 2).sum(1))
    if l_max >= 2:
        # zz = −xx − yy turns xx² + yy² + zz² into 2 (xx² + yy² + xx yy)
        norms.append(2.0 * ((tensors[:, 4:9] ** 2).sum(1) + tensors[:, 4] * tensors[:, 7]))
    return norms
