"""What the prior of a force field is made of, and how it is fitted."""

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np

from beadsmith.errors import InputError
from beadsmith.neighbors import OTHER_MOLECULE, SAME_MOLECULE
from beadsmith.priors.bonded import Coordinate
from beadsmith.priors.bonded_fit import Estimator
from beadsmith.priors.bonded_prior import Form
from beadsmith.units import Unit

_CHOICES = {
    "repulsion": ("tangent", "published", "none"),
    "bonds": ("harmonic", "none"),
    "angles": ("harmonic", "none"),
    "dihedrals": ("fourier", "cosine", "none"),
    "impropers": ("harmonic", "fourier", "cosine", "none"),
    "estimator": ("variance", "boltzmann"),
}


@dataclass(frozen=True, kw_only=True)
class PriorSettings:
    """How the fixed part of the force field and the pair-spline baseline are fitted."""

    repulsion: Literal["tangent", "published", "none"] = "tangent"
    """Excluded volume of the network: `tangent` continues the pair mean force inwards from the edge of the data;
    `published` is the HIP-NN-TS paper's rule, which leaves a false well in liquid methanol; `none` trains without."""
    cutoff: Annotated[float, Unit("nm")] = 1.0
    """Where the pair splines end."""
    n_intervals: int = 36
    """Knot intervals of each pair spline; the explained force variance of liquids saturates at about 30."""
    ridge: float = 1e-9
    """Weight of the roughness penalty of the linear fit, relative to the mean diagonal of its normal matrix."""
    n_blocks: int = 10
    """Contiguous blocks of frames from which standard errors and held-out losses are taken."""
    force_tolerance: float = 0.03
    """Largest relative standard error of the mean force where the repulsion joins it; up to six times it if need be."""
    decay_tolerance: float = 0.05
    """Largest relative standard error of the decay of the mean force there; up to six times it if need be."""
    bonds: Literal["harmonic", "none"] = "harmonic"
    """Energy of bonds between beads; only for molecules that have any, like all settings below."""
    angles: Literal["harmonic", "none"] = "harmonic"
    """Energy of angles, harmonic in the angle itself."""
    dihedrals: Literal["fourier", "cosine", "none"] = "fourier"
    """Energy of dihedrals: `fourier` is a series with sine terms, which tells a molecule from its mirror image;
    `cosine` has none, and both hands have one energy."""
    impropers: Literal["harmonic", "fourier", "cosine", "none"] = "harmonic"
    """Energy of impropers: `harmonic` about the mean with its sign holds the hand of a stereocentre, and is refused for
    one with several states; `fourier` tells hands apart by its sine terms, `cosine` does not."""
    estimator: Estimator = "variance"
    """How harmonic constants follow from the distribution: `variance` takes mean and kT/variance, `boltzmann` inverts
    the histogram with the Jacobian r² of bonds and sin θ of angles divided out."""
    fourier_order: int = 4
    """Largest multiple of a dihedral in its series."""
    min_samples: int = 50
    """Smallest effective number of values from which a bonded term is fitted: 50 know a stiffness to 20 %."""
    exclusions: int = 3
    """Beads of one molecule this many bonds apart or fewer feel no repulsion and no pair spline: 3 leaves 1-4 pairs to
    the dihedrals, 2 leaves out 1-2 and 1-3 pairs alone, 0 none."""

    @property
    def forms(self) -> dict[Coordinate, Form]:
        """Form of the energy of each bonded coordinate."""
        return {"bond": self.bonds, "angle": self.angles, "dihedral": self.dihedrals, "improper": self.impropers}

    @property
    def bond_classes(self) -> tuple[int, ...]:
        """Bond classes of the pairs that feel repulsion and pair splines."""
        return (OTHER_MOLECULE, *range(self.exclusions + 1, SAME_MOLECULE + 1))

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        Raises
        ------
        InputError : a value is out of range.
        """
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise InputError(f"prior {name} is '{getattr(self, name)}', expected {' or '.join(map(repr, choices))}")
        if not (np.isfinite(self.cutoff) and self.cutoff > 0.0):
            raise InputError(f"prior cutoff is {self.cutoff} nm, expected > 0")
        if self.n_intervals < 4:
            raise InputError(f"prior n_intervals is {self.n_intervals}, expected at least 4")
        if not (np.isfinite(self.ridge) and self.ridge >= 0.0):
            raise InputError(f"prior ridge is {self.ridge}, expected a finite number >= 0")
        if self.n_blocks < 2:
            raise InputError(f"prior n_blocks is {self.n_blocks}, expected at least 2")
        for name, smallest, largest in (("fourier_order", 1, 12), ("min_samples", 10, 10**9), ("exclusions", 0, 3)):
            if not smallest <= getattr(self, name) <= largest:
                raise InputError(f"prior {name} is {getattr(self, name)}, expected {smallest} to {largest}")
        for name in ("force_tolerance", "decay_tolerance"):
            if not 0.0 < getattr(self, name) <= 0.1:
                raise InputError(f"prior {name} is {getattr(self, name)}, expected above 0 and at most 0.1")
