"""The prior as a simulation wants it: all pair terms in tables, and all bonded terms in one sweep."""

from collections.abc import Iterable
from typing import Any, ClassVar, Self, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from beadsmith.batch import Batch, Pairs, Prediction
from beadsmith.energy import AbstractEnergyTerm
from beadsmith.priors.bonded import AbstractBondedTerm, JoinedTerms, join_terms, predict_bonded
from beadsmith.priors.tabulated import tabulate_pair_terms


def prepare_prior(terms: Iterable[AbstractEnergyTerm]) -> list[AbstractEnergyTerm]:
    """Return terms of the same energy that are faster: pair terms as tables, bonded terms as one.

    The prepared terms cannot be stored, and their parameters must not change any more.
    """
    terms = tabulate_pair_terms(terms)
    bonded = [term for term in terms if isinstance(term, AbstractBondedTerm)]
    if len(bonded) < 2:
        return terms
    return [term for term in terms if not isinstance(term, AbstractBondedTerm)] + [JoinedBondedTerms(bonded)]


class JoinedBondedTerms(AbstractEnergyTerm):
    """The sum of several bonded terms, in one sweep. Made for one simulation and never stored."""

    kind: ClassVar[str] = "joined_bonded_terms"

    def __init__(self, terms: list[AbstractBondedTerm]) -> None:
        """Join at least one term.

        Parameters
        ----------
        terms : Bonded terms of the same bead types.
        """
        super().__init__()
        self.cutoff = 0.0
        self.terms = cast("list[AbstractBondedTerm]", nn.ModuleList(terms))
        self._joined: tuple[Tensor, Tensor, Tensor, JoinedTerms] | None = None

    def forward(self, batch: Batch, pairs: Pairs) -> Float[Tensor, "sites"]:
        """Return site energies [kJ/mol]; each term counts at its first site."""
        return torch.stack([term(batch, pairs) for term in self.terms]).sum(0)

    def predict(self, batch: Batch, pairs: Pairs) -> Prediction:
        """Return energy, forces and the zero virial from one compiled sweep; on a GPU from `forward`."""
        if batch.positions.device.type != "cpu":
            return super().predict(batch, pairs)
        # the steps of a simulation share these tensors
        known = self._joined
        if known is None or known[0] is not batch.types or known[1] is not batch.bonds or known[2] is not batch.angles:
            known = (batch.types, batch.bonds, batch.angles, join_terms(list(self.terms), batch))
            self._joined = known
        return predict_bonded(known[3], batch)

    def to_config(self) -> dict[str, Any]:
        """Refuse: joined terms are made from the terms that are stored."""
        raise NotImplementedError("joined bonded terms are not stored")

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Refuse: joined terms are made from the terms that are stored."""
        raise NotImplementedError("joined bonded terms are not stored")
