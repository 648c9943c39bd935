"""How the atomistic reference is sampled: settings, checked when they are made."""

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np

from beadsmith.errors import InputError
from beadsmith.sampling.engine import PlatformName
from beadsmith.units import GRAM_PER_CUBIC_CENTIMETRE, Unit

_CHECKPOINT = 5.0
"""Time between checkpoints of large systems [ps]: some seconds of work."""

_CHECKPOINT_OF_GROMACS = 25.0
"""The same for GROMACS, which is faster and starts anew at each checkpoint [ps]."""

_LARGE = 1000
"""Number of atoms from which on a checkpoint every 5 ps costs little; smaller systems take fewer."""


@dataclass(frozen=True, kw_only=True)
class SamplingSettings:
    """How the atomistic reference is sampled."""

    timestep: Annotated[float, Unit("ps")] = 0.004
    """Timestep; up to 2.5 fs with the true hydrogen mass, up to 5 fs with hydrogens of 3 u."""
    equilibration: Annotated[float, Unit("ps")] = 20.0
    """Time before the first saved frame."""
    duration: Annotated[float, Unit("ps")] = 100.0
    """Time over which frames are saved, of each replica."""
    save_interval: Annotated[float, Unit("ps")] = 0.2
    """Time between saved frames; forces lose their memory within about 0.2 ps."""
    replicas: int = 1
    """Independent runs at each temperature, each with a start and random numbers of its own; small systems run side by
    side."""
    temperatures: tuple[Annotated[float, Unit("K")], ...] = ()
    """Temperatures of the replicas, that of the state among them; empty for that alone. Frames carry their temperature,
    and only those of the state's are mapped."""
    checkpoint_interval: Annotated[float, Unit("ps")] | None = None
    """Time between checkpoints: a killed run loses at most this much. None takes 5 ps, with
    gromacs 25 ps, and longer below 1000 atoms."""
    friction: Annotated[float, Unit("1/ps")] = 1.0
    """Friction of the Langevin thermostat."""
    hydrogen_mass: Annotated[float, Unit("u")] | None = 3.0
    """Mass of each hydrogen in the dynamics, taken from the atom it is bonded to; none for the true mass."""
    cutoff: Annotated[float, Unit("nm")] = 0.9
    """Range of the Lennard-Jones forces (with long-range correction) and of the direct Ewald sum; without a box there
    is no cutoff."""
    ewald_tolerance: float = 5e-4
    """Relative error of the Ewald forces."""
    initial_density: Annotated[float, Unit("u/nm**3")] = 0.7 * GRAM_PER_CUBIC_CENTIMETRE
    """Density of a liquid at the start of a run at constant pressure."""
    barostat_interval: Annotated[float, Unit("ps")] = 0.1
    """Time between attempted volume changes of a run at constant pressure."""
    engine: Literal["openmm", "gromacs"] = "openmm"
    """Program that moves the atoms; gromacs needs its 'gmx' on the path, is for liquids, and leaves forces, energies
    and virials of the saved frames to OpenMM."""
    platform: PlatformName = "auto"
    """OpenMM platform; auto takes a GPU if there is one, else what is fast for the size."""
    threads: int | None = None
    """Threads of all replicas together; none takes what the size can use. Runs are repeatable bit for bit on the
    Reference platform, and on the CPU platform with one thread a replica."""

    def __post_init__(self) -> None:
        """Refuse values that no stable run has, and intervals that do not fit into each other.

        Raises
        ------
        InputError : a value is out of range, or an interval is no multiple of the shorter one.
        """
        for field in ("timestep", "duration", "save_interval", "friction", "cutoff", "initial_density"):
            self._refuse_not_positive(field)
        self._refuse_not_positive("barostat_interval")
        if not (np.isfinite(self.equilibration) and self.equilibration >= 0.0):
            raise InputError(f"equilibration is {self.equilibration} ps, expected >= 0")
        if not 1e-6 <= self.ewald_tolerance <= 1e-2:
            raise InputError(f"ewald_tolerance is {self.ewald_tolerance}, expected between 1e-6 and 1e-2")
        for field in ("threads", "replicas"):
            if getattr(self, field) is not None and getattr(self, field) < 1:
                raise InputError(f"{field} is {getattr(self, field)}, expected at least 1")
        for temperature in self.temperatures:
            if not (np.isfinite(temperature) and temperature > 0.0) or self.temperatures.count(temperature) > 1:
                raise InputError(f"temperatures hold {temperature:g} K, expected different values > 0")
        if self.hydrogen_mass is not None and not 1.008 <= self.hydrogen_mass <= 4.0:
            raise InputError(f"hydrogen_mass is {self.hydrogen_mass} u, expected between 1.008 and 4 u")
        limit = 0.005 if self.has_heavy_hydrogens else 0.0025
        if self.timestep > limit + 1e-9:
            raise InputError(
                f"timestep is {1000.0 * self.timestep:g} fs, but hydrogens of "
                f"{self.hydrogen_mass or 1.008:g} u are stable up to {1000.0 * limit:g} fs",
                fix="Use a shorter timestep" + ("." if self.has_heavy_hydrogens else ", or hydrogen_mass: 3 u."),
            )
        self._refuse_misfit("save_interval", "timestep")
        for field in ("equilibration", "duration"):
            self._refuse_misfit(field, "save_interval")
        if self.checkpoint_interval is not None:
            self._refuse_not_positive("checkpoint_interval")
            self._refuse_misfit("checkpoint_interval", "save_interval")

    def _refuse_not_positive(self, field: str) -> None:
        value = getattr(self, field)
        if not (np.isfinite(value) and value > 0.0):
            raise InputError(f"{field} is {value}, expected > 0")

    def _refuse_misfit(self, longer: str, shorter: str) -> None:
        value, step = getattr(self, longer), getattr(self, shorter)
        count = round(value / step)
        if abs(value - count * step) > 1e-6 * step or (count == 0 and longer != "equilibration"):
            raise InputError(
                f"{longer} is {value:g} ps, not a multiple of {shorter} ({step:g} ps)",
                fix=f"The nearest that fits is {max(count, 1) * step:g} ps.",
            )

    @property
    def has_heavy_hydrogens(self) -> bool:
        """Whether hydrogens are so heavy that a timestep of 4 fs is stable."""
        return self.hydrogen_mass is not None and self.hydrogen_mass >= 2.5

    @property
    def steps_per_frame(self) -> int:
        """Number of timesteps between saved frames."""
        return round(self.save_interval / self.timestep)

    @property
    def n_intervals(self) -> tuple[int, int]:
        """Number of save intervals of a replica before its first saved frame, and in its whole run."""
        before = round(self.equilibration / self.save_interval)
        return before, before + round(self.duration / self.save_interval)

    @property
    def n_frames(self) -> int:
        """Number of frames saved at each temperature."""
        before, total = self.n_intervals
        return self.replicas * (total - before)

    def intervals_per_checkpoint(self, n_atoms: int) -> int:
        """Return the number of save intervals between checkpoints of a system of some size."""
        usual = _CHECKPOINT_OF_GROMACS if self.engine == "gromacs" else _CHECKPOINT
        wanted = self.checkpoint_interval or usual * max(1.0, _LARGE / n_atoms)
        return max(1, round(wanted / self.save_interval))

    def list_temperatures(self, temperature: float) -> list[float]:
        """Return the temperature of each replica [K], first those at the state's own.

        Parameters
        ----------
        temperature : Temperature of the state [K].

        Raises
        ------
        InputError : temperatures are given, but the state's own is not among them.
        """
        if self.temperatures and temperature not in self.temperatures:
            raise InputError(
                f"temperatures are {', '.join(f'{value:g}' for value in self.temperatures)} K, without the "
                f"{temperature:g} K of the state",
                fix="Add it: the force field is made from the frames at the state's temperature.",
            )
        others = [value for value in self.temperatures if value != temperature]
        return [value for value in (temperature, *others) for _ in range(self.replicas)]
