"""Excluded volume: an exponential wall for every unordered type pair."""

from typing import Any, ClassVar, Self

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from beadsmith.errors import PhysicsError
from beadsmith.priors.pair_terms import NONBONDED, AbstractPairTerm

SWITCH_START = 0.9
"""Where the repulsion begins to be switched off, as a fraction of its cutoff."""


class ExponentialRepulsion(AbstractPairTerm):
    """An exponential wall, counted once per unordered pair.

    U(r) = (F0 / a) exp(-a (r - r0)) s(r), so that below the switch -U'(r0) = F0; s falls from 1 at 0.9 of the cutoff
    to 0 at the cutoff with two continuous derivatives (s = 1 - 10 x³ + 15 x⁴ - 6 x⁵).

    Source of the form: E. Shinkle et al., J. Chem. Theory Comput. 20, 10524 (2024), who sum over directed pairs and so
    double the force; here each pair counts once.
    """

    kind: ClassVar[str] = "exponential_repulsion"
    joining_distance: Tensor
    joining_force: Tensor
    decay: Tensor

    def __init__(
        self,
        type_names: tuple[str, ...],
        *,
        joining_distances: tuple[float, ...],
        joining_forces: tuple[float, ...],
        decays: tuple[float, ...],
        cutoff: float,
        bond_classes: tuple[int, ...] = NONBONDED,
    ) -> None:
        """Build the walls of all type pairs, in the order of `type_pairs`.

        Parameters
        ----------
        type_names : Names of the bead types.
        joining_distances : r0 of each unordered type pair [nm].
        joining_forces : F0, the force at r0 [kJ/mol/nm].
        decays : a, the inverse decay length of the force [1/nm].
        cutoff : Distance [nm] from which the energy is zero.
        bond_classes : Bond classes of the pairs that the repulsion applies to.

        Raises
        ------
        PhysicsError : a constant is missing, not finite or not positive.
        """
        super().__init__(type_names, cutoff=cutoff, bond_classes=bond_classes)
        constants = {"joining distance": joining_distances, "joining force": joining_forces, "decay": decays}
        for name, values in constants.items():
            if len(values) != len(self.type_pairs):
                raise PhysicsError(
                    f"{self.kind} has {len(values)} values of the {name} for {len(self.type_pairs)} type pairs"
                )
            for pair, value in zip(self.type_pairs, values, strict=True):
                if not (np.isfinite(value) and value > 0.0):
                    raise PhysicsError(
                        f"the {name} of {self.kind} for the pair '{pair}' is {value}, expected positive and finite",
                        fix="Fit the prior to more frames, or look for corrupt forces in the mapped trajectory.",
                    )
        self.register_buffer("joining_distance", torch.tensor(joining_distances, dtype=torch.float64))
        self.register_buffer("joining_force", torch.tensor(joining_forces, dtype=torch.float64))
        self.register_buffer("decay", torch.tensor(decays, dtype=torch.float64))

    def pair_energy(self, distances: Float[Tensor, "pairs"], type_pair: Int[Tensor, "pairs"]) -> Float[Tensor, "pairs"]:
        """Return the energy of each pair [kJ/mol]."""
        decay = self.decay.to(distances.dtype).index_select(0, type_pair)
        scale = self.joining_force.to(distances.dtype).index_select(0, type_pair) / decay
        onset = self.joining_distance.to(distances.dtype).index_select(0, type_pair)
        x = ((distances / self.cutoff - SWITCH_START) / (1.0 - SWITCH_START)).clamp(0.0, 1.0)
        switch = 1.0 - x**3 * (10.0 - 15.0 * x + 6.0 * x**2)
        return scale * torch.exp(decay * (onset - distances)) * switch

    def to_config(self) -> dict[str, Any]:
        """Return the constructor's arguments as JSON."""
        return {
            "type_names": list(self.type_names),
            "joining_distances": self.joining_distance.tolist(),
            "joining_forces": self.joining_force.tolist(),
            "decays": self.decay.tolist(),
            "cutoff": self.cutoff,
            "bond_classes": list(self.bond_classes),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Return the repulsion that `to_config` described."""
        keys = ("type_names", "joining_distances", "joining_forces", "decays", "bond_classes")
        return cls(**{**config, **{key: tuple(config[key]) for key in keys}})
