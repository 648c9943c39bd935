"""Whether and how a term of the volume is fitted at the end of a training: the section `training.volume_term`."""

from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Literal

from beadsmith.errors import InputError
from beadsmith.simulation.settings import SimulationSettings
from beadsmith.units import Unit

_FRICTION = 5.0
"""[1/ps]. Pressures do not depend on it."""


@dataclass(frozen=True, kw_only=True)
class PressureRunSettings:
    """The simulation at constant volume that `method: simulation` reads the pressure from, for each mapped file."""

    replicas: int = 2
    """Boxes side by side; they start from frames evenly spread over those with about the mean volume."""
    timestep: Annotated[float, Unit("ps")] = 0.005
    """Timestep of Langevin dynamics."""
    equilibration: Annotated[float, Unit("ps")] = 10.0
    """Time left out at the beginning."""
    duration: Annotated[float, Unit("ps")] = 50.0
    """Time that counts."""
    save_interval: Annotated[float, Unit("ps")] = 0.2
    """Time between saved frames."""

    def __post_init__(self) -> None:
        """Refuse settings that make no run.

        Raises
        ------
        InputError : a value is out of range, or 'save_interval' is no multiple of the timestep.
        """
        self.to_simulation()

    def to_simulation(self, **others: Any) -> SimulationSettings:
        """Return the settings of the verb `simulate`."""
        return SimulationSettings(integrator="langevin", friction=_FRICTION, **asdict(self), **others)


@dataclass(frozen=True, kw_only=True)
class VolumeTermSettings:
    """A potential of the volume alone on top of all else, which makes the mean pressure right and changes no force."""

    order: int = 1
    """1 adds a constant to the pressure; 2 also a pressure linear in the volume, for data of several densities."""
    method: Literal["labels", "simulation"] = "labels"
    """Where the missing pressure is read: `labels`, on the training frames, right as far as a simulation visits the
    same configurations; or `simulation`, in a run of the force field itself at the volume of the data, and right there,
    because a term of the volume changes no run at constant volume."""
    simulation: PressureRunSettings = field(default_factory=PressureRunSettings)
    """The run of `method: simulation`."""

    def __post_init__(self) -> None:
        """Refuse an order that there is not.

        Raises
        ------
        InputError : the order is neither 1 nor 2, or the method is unknown.
        """
        if self.order not in (1, 2):
            raise InputError(f"'order' is {self.order}, expected 1 or 2")
        if self.method not in ("labels", "simulation"):
            raise InputError(f"'method' is '{self.method}', expected 'labels' or 'simulation'")
