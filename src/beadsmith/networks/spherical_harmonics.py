"""Real spherical harmonics of a direction up to l = 3, as polynomials.

Each degree is scaled so that its 2l + 1 components have the squared sum 2l + 1 on the unit sphere ("component"
normalisation). Components are ordered by m = −l … l about the y axis: those of l = 1 are x, y, z times √3. This is the
convention of equivariant networks in which published MACE weights are stored.

Source: D. A. Varshalovich et al., Quantum Theory of Angular Momentum (1988), section 5.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

HIGHEST_DEGREE = 3
"""Degrees above this one are not written out."""


def n_components(l_max: int) -> int:
    """Return the number of components of all degrees up to `l_max`."""
    return (l_max + 1) ** 2


def component_slice(degree: int) -> slice:
    """Return where the 2l + 1 components of one degree lie among those of all degrees."""
    return slice(degree**2, (degree + 1) ** 2)


def spherical_harmonics(directions: Float[Tensor, "pairs 3"], l_max: int) -> Float[Tensor, "pairs components"]:
    """Return Y_lm of unit vectors for l = 0 … `l_max`, one degree after the other.

    Parameters
    ----------
    directions : Unit vectors.
    l_max : Highest degree, at most `HIGHEST_DEGREE`.
    """
    x, y, z = directions.unbind(1)
    components = [torch.ones_like(x)]
    if l_max >= 1:
        components += [math.sqrt(3.0) * x, math.sqrt(3.0) * y, math.sqrt(3.0) * z]
    xx, yy, zz = x * x, y * y, z * z
    if l_max >= 2:
        components += [
            math.sqrt(15.0) * x * z,
            math.sqrt(15.0) * x * y,
            math.sqrt(5.0) * (yy - 0.5 * (xx + zz)),
            math.sqrt(15.0) * y * z,
            math.sqrt(15.0) * 0.5 * (zz - xx),
        ]
    if l_max >= 3:
        around = 4.0 * yy - xx - zz
        components += [
            math.sqrt(70.0) * 0.25 * x * (3.0 * zz - xx),
            math.sqrt(105.0) * x * y * z,
            math.sqrt(42.0) * 0.25 * x * around,
            math.sqrt(7.0) * 0.5 * y * (2.0 * yy - 3.0 * (xx + zz)),
            math.sqrt(42.0) * 0.25 * z * around,
            math.sqrt(105.0) * 0.5 * y * (zz - xx),
            math.sqrt(70.0) * 0.25 * z * (zz - 3.0 * xx),
        ]
    return torch.stack(components, dim=1)
