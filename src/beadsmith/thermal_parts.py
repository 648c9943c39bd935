"""Energy and entropy of bead configurations: the parts of a potential of mean force that depends on temperature."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from beadsmith.batch import Batch, Pairs, Prediction
from beadsmith.energy import EnergyModel, add_predictions, predict_network, predict_prior, spread_weights
from beadsmith.errors import InputError


@dataclass(frozen=True, kw_only=True)
class ThermalParts:
    """W = U - T S at the temperature of each system, with forces F = F_U + F_S.

    U is the mean atomistic potential energy at fixed beads up to a constant of the state, S = -dW/dT.
    """

    energetic: Prediction
    """U [kJ/mol], F_U = -grad U [kJ/mol/nm] and the virial of U."""
    entropic: Prediction
    """-T S [kJ/mol], F_S = T grad S [kJ/mol/nm] and the virial of -T S."""
    heat_capacity: Float[Tensor, "systems"]
    """dU/dT = T dS/dT [kJ/mol/K], the variance of the atomistic energy at fixed beads over kT²."""

    @property
    def free_energy(self) -> Prediction:
        """W [kJ/mol], its forces and virial."""
        return add_predictions(self.energetic, self.entropic)


@torch.no_grad()
def predict_parts(force_field: EnergyModel, batch: Batch, pairs: Pairs) -> ThermalParts:
    """Return energy, entropy and heat capacity of a force field that depends on temperature.

    Parameters
    ----------
    force_field : Prior, which counts as energy wholly, and a network of several channels.
    batch : Systems, each with its temperature.
    pairs : Their pairs.

    Raises
    ------
    InputError : the force field does not depend on temperature: it has a free energy, of which the parts are unknown.
    """
    form, network = force_field.thermal_form, force_field.network
    if network is None or not form.depends_on_temperature:
        raise InputError(
            "the force field does not depend on temperature, so its energy and entropy are unknown",
            fix="Train with 'training.thermal: linear' on data of at least two temperatures.",
        )
    energetic, entropic = (
        predict_network(network, batch, pairs, spread_weights(weights, batch))
        for weights in (form.energy_weights(batch.temperature), form.entropy_weights(batch.temperature))
    )
    capacity = torch.zeros_like(energetic.energy)
    if form.kind == "heat_capacity":
        weights = spread_weights(form.heat_capacity_weights(batch.temperature), batch)
        capacity = predict_network(network, batch, pairs, weights).energy
    prior = predict_prior(list(force_field.prior), batch, pairs)
    return ThermalParts(energetic=add_predictions(prior, energetic), entropic=entropic, heat_capacity=capacity)
