"""The thermal form: how the channels of a network add up to a potential of mean force that depends on temperature.

W(R;T) = U - T S is a free energy: U = W - T dW/dT and S = -dW/dT follow from it, and dU/dT = T dS/dT = -T d²W/dT² holds
whatever the network says. All are weighted sums of the same channels.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from beadsmith.errors import InputError

ThermalKind = Literal["none", "linear", "heat_capacity"]
"""Free energy alone; constant energy and entropy surfaces; both with a heat-capacity surface."""

_N_CHANNELS = {"none": 1, "linear": 2, "heat_capacity": 3}


@dataclass(frozen=True, kw_only=True)
class ThermalForm:
    """Weights of the channels at a temperature, with t = T/T0.

    ``none``: W = e0. ``linear``: W = e0 + (1 - t) e1. ``heat_capacity``: W = e0 + (1 - t) e1 + (t - 1 - t ln t) e2.

    The channels are energies [kJ/mol]: e0 = W(T0), e1 = T0 S(T0), e2 = T0 C with the heat capacity C = dU/dT. This is
    W = U0 - T S0 + C [(T - T0) - T ln(T/T0)] with U0 = e0 + e1; about T0 the channels have the least to do with each
    other. Another T0 mixes the channels and leaves the set of all potentials as it is.
    """

    kind: ThermalKind = "none"
    """Which of the three."""
    reference_temperature: float | None = None
    """T0 [K]; None exactly where nothing depends on temperature."""

    def __post_init__(self) -> None:
        """Refuse a form that is none.

        Raises
        ------
        InputError : the kind is unknown, or the reference temperature is missing, superfluous or not positive.
        """
        if self.kind not in get_args(ThermalKind):
            raise InputError(f"thermal form is {self.kind!r}, expected one of {', '.join(get_args(ThermalKind))}")
        if self.kind == "none":
            if self.reference_temperature is not None:
                raise InputError("a potential that does not depend on temperature has no reference temperature")
        elif self.reference_temperature is None or not 0.0 < self.reference_temperature < float("inf"):
            raise InputError(
                f"reference temperature of thermal form '{self.kind}' is {self.reference_temperature} K, expected > 0"
            )

    @property
    def n_channels(self) -> int:
        """Number of channels a network must have."""
        return _N_CHANNELS[self.kind]

    @property
    def depends_on_temperature(self) -> bool:
        """Whether there is more than one channel."""
        return self.kind != "none"

    def free_energy_weights(self, temperature: Float[Tensor, "systems"]) -> Float[Tensor, "systems channels"]:
        """Return w(T): the weights [1] whose sum of channels is W, in float64."""
        t = self._reduce(temperature)
        return torch.stack([torch.ones_like(t), 1.0 - t, t - 1.0 - t * torch.log(t)][: self.n_channels], dim=1)

    def entropy_weights(self, temperature: Float[Tensor, "systems"]) -> Float[Tensor, "systems channels"]:
        """Return T dw/dT: the weights [1] whose sum of channels is -T S, and whose forces are F_S = T grad S."""
        t = self._reduce(temperature)
        return torch.stack([torch.zeros_like(t), -t, -t * torch.log(t)][: self.n_channels], dim=1)

    def energy_weights(self, temperature: Float[Tensor, "systems"]) -> Float[Tensor, "systems channels"]:
        """Return w - T dw/dT: the weights [1] whose sum of channels is U, and whose forces are F_U = -grad U."""
        return self.free_energy_weights(temperature) - self.entropy_weights(temperature)

    def heat_capacity_weights(self, temperature: Float[Tensor, "systems"]) -> Float[Tensor, "systems channels"]:
        """Return -T d²w/dT²: the weights [1/K] whose sum of channels is dU/dT = T dS/dT."""
        weights = torch.zeros(len(temperature), self.n_channels, dtype=torch.float64, device=temperature.device)
        if self.kind == "heat_capacity":
            assert self.reference_temperature is not None
            weights[:, 2] = 1.0 / self.reference_temperature
        return weights

    def to_json(self) -> dict[str, Any]:
        """Return the form as plain data."""
        return asdict(self)

    def _reduce(self, temperature: Tensor) -> Tensor:
        return temperature.double() / (self.reference_temperature or 1.0)
