"""How a coarse-grained system is simulated: the section `simulation` of a run, apart from where it starts."""

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np

from beadsmith.errors import InputError
from beadsmith.simulation.barostat import BarostatSettings
from beadsmith.simulation.start import StartChoice
from beadsmith.simulation.tempering import TemperingSettings
from beadsmith.units import Unit


@dataclass(frozen=True, kw_only=True)
class SimulationSettings:
    """How a coarse-grained system is simulated."""

    integrator: Literal["langevin", "verlet", "brownian"] = "langevin"
    """Langevin (BAOAB, constant temperature), velocity Verlet (constant energy) or overdamped Brownian dynamics."""
    timestep: Annotated[float, Unit("ps")] = 0.005
    """Timestep."""
    friction: Annotated[float, Unit("1/ps")] = 2.0
    """Collision rate with the heat bath; not used by verlet."""
    equilibration: Annotated[float, Unit("ps")] = 20.0
    """Time before the first saved frame."""
    duration: Annotated[float, Unit("ps")] = 100.0
    """Time over which frames are saved."""
    save_interval: Annotated[float, Unit("ps")] = 0.2
    """Time between saved frames."""
    replicas: int = 1
    """Copies that run side by side, from different frames and with different noise."""
    start: StartChoice = "evenly"
    """Which frames of the reference replicas start from: evenly spread over its time, or dispersed, which picks shapes
    of a single molecule that are far apart."""
    tempering: TemperingSettings | None = None
    """Parallel tempering of the replicas, or none: all replicas at the temperature of the run."""
    pressure: Annotated[float, Unit("kJ/mol/nm**3")] | None = None
    """Pressure at which the cell finds its volume (constant pressure, langevin only), or none: the cell is kept."""
    barostat: BarostatSettings | None = None
    """How the volume changes at constant pressure; none takes the defaults."""
    skin: Annotated[float, Unit("nm")] = 0.2
    """Distance beyond the cutoff up to which neighbours are kept between searches; changes speed only."""
    max_displacement: Annotated[float, Unit("nm")] = 0.05
    """A replica with a bead that moves farther than this in one step is stopped."""
    max_temperature_ratio: float = 10.0
    """A replica whose kinetic temperature exceeds the heat bath's by this factor is stopped."""
    all_stopped: Literal["fail", "keep"] = "fail"
    """If every replica stops: an error, or go on with the frames before, for studies of stability."""
    precision: Literal["float32", "float64"] = "float32"
    """Precision of energies and forces; positions and velocities are always double."""
    device: str = "cpu"
    """Where to compute: cpu, cuda or cuda:0."""
    threads: int | None = 1
    """Threads on a CPU; none takes all cores, which pays for wide networks and many replicas on an idle machine."""
    checkpoint_interval: Annotated[float, Unit("s")] = 15.0
    """Wall time between checkpoints: what a kill can cost."""

    def __post_init__(self) -> None:
        """Refuse settings that make no run.

        Raises
        ------
        InputError : a value is out of range, or times are not multiples of each other.
        """
        for name in ("timestep", "friction", "duration", "save_interval", "skin", "max_displacement"):
            if not (np.isfinite(getattr(self, name)) and getattr(self, name) > 0.0):
                raise InputError(f"'{name}' is {getattr(self, name)}, expected > 0")
        for name in ("equilibration", "checkpoint_interval"):
            if not getattr(self, name) >= 0.0:
                raise InputError(f"'{name}' is {getattr(self, name)}, expected >= 0")
        if self.replicas < 1:
            raise InputError(f"'replicas' is {self.replicas}, expected at least 1")
        if self.threads is not None and self.threads < 1:
            raise InputError(f"'threads' is {self.threads}, expected at least 1")
        if not self.max_temperature_ratio > 1.0:
            raise InputError(f"'max_temperature_ratio' is {self.max_temperature_ratio}, expected > 1")
        if self.duration < self.save_interval * (1.0 - 1e-9):
            raise InputError(
                f"'duration' is {self.duration} ps, shorter than one 'save_interval' ({self.save_interval} ps)"
            )
        _refuse_broken_steps("save_interval", self.save_interval, self.timestep)
        if self.tempering is not None:
            self._refuse_tempering(self.tempering)
        self._refuse_pressure()

    def _refuse_tempering(self, tempering: TemperingSettings) -> None:
        """Refuse a ladder that the other settings cannot carry.

        Raises
        ------
        InputError : the integrator has no heat bath, exchanges fall between timesteps, or ladders would be incomplete.
        """
        if self.integrator == "verlet":
            raise InputError(
                "'tempering' needs a heat bath, which verlet has not", fix="Use integrator: langevin, or brownian."
            )
        _refuse_broken_steps("tempering.interval", tempering.interval, self.timestep)
        n_rungs = tempering.n_temperatures
        if self.replicas % n_rungs:
            raise InputError(
                f"'replicas' is {self.replicas}, expected a multiple of the {n_rungs} temperatures of 'tempering'",
                fix=f"Use {max(1, round(self.replicas / n_rungs)) * n_rungs} replicas.",
            )

    def _refuse_pressure(self) -> None:
        """Refuse a pressure that the other settings cannot hold, and a barostat without one.

        Raises
        ------
        InputError : the pressure is not positive or missing, the integrator is not langevin, or volume changes fall
            between timesteps.
        """
        if self.pressure is None:
            if self.barostat is not None:
                raise InputError(
                    "'barostat' is given without a 'pressure'", fix="Add for example 'pressure: 1 bar', or delete it."
                )
            return
        if not (np.isfinite(self.pressure) and self.pressure > 0.0):
            raise InputError(f"'pressure' is {self.pressure} kJ/mol/nm^3, expected > 0")
        if self.integrator != "langevin":
            raise InputError(
                f"'pressure' needs the integrator langevin, not {self.integrator}: volumes change by a rule that asks "
                "for a heat bath, and for positions that owe nothing to the noise of the next step",
                fix="Use integrator: langevin.",
            )
        _refuse_broken_steps("barostat.interval", self.volume_moves.interval, self.timestep)

    @property
    def volume_moves(self) -> BarostatSettings:
        """How the volume changes, if it does."""
        return self.barostat or BarostatSettings()

    @property
    def volume_stride(self) -> int | None:
        """Steps between attempts to change the volume, or None at constant volume."""
        return None if self.pressure is None else round(self.volume_moves.interval / self.timestep)

    @property
    def exchange_stride(self) -> int | None:
        """Steps between attempts to exchange temperatures, or None without tempering."""
        return None if self.tempering is None else round(self.tempering.interval / self.timestep)

    @property
    def stride(self) -> int:
        """Steps between saved frames."""
        return round(self.save_interval / self.timestep)

    @property
    def n_equilibration_steps(self) -> int:
        """Steps before the first saved interval."""
        return round(self.equilibration / self.timestep)

    @property
    def n_frames(self) -> int:
        """Saved frames of each replica."""
        return int(self.duration / self.save_interval * (1.0 + 1e-9))

    @property
    def n_steps(self) -> int:
        """All steps."""
        return self.n_equilibration_steps + self.n_frames * self.stride


def _refuse_broken_steps(name: str, interval: float, timestep: float) -> None:
    steps = interval / timestep
    if round(steps) < 1 or abs(steps - round(steps)) > 1e-6 * steps:
        raise InputError(
            f"'{name}' is {steps:.6g} timesteps, expected a whole number",
            fix=f"Use a {name} of {max(1, round(steps)) * timestep:g} ps.",
        )
