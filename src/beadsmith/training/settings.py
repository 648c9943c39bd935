"""How the network is fitted to the mapped forces: the section `training` of a run."""

import math
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from beadsmith.errors import InputError
from beadsmith.thermal_form import ThermalKind
from beadsmith.training.labels import LabelSettings
from beadsmith.training.slow_coordinates import CorrectionSettings
from beadsmith.training.volume_settings import VolumeTermSettings
from beadsmith.units import Unit


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """How the network is fitted to the mapped forces."""

    epochs: int = 24
    """Largest number of passes over the training frames. 0 keeps the network of 'start_from' as it is: for a correction
    alone."""
    batch_size: int = 1
    """Frames per optimiser step. Small batches with a high rate win early."""
    learning_rate: float = 3e-3
    """First step size of AdamW."""
    weight_decay: float = 1e-4
    """Decoupled weight decay of AdamW."""
    averaging: float = 0.998
    """Decay per step of the running average of the weights; the average is what is validated and saved."""
    gradient_clip: float = 10.0
    """Largest gradient norm of the loss divided by the variance of its targets."""
    plateau_threshold: float = 1e-3
    """Relative decrease of the validation loss in an epoch that justifies the rate."""
    plateau_patience: int = 1
    """Epochs without such a decrease that are tolerated before the rate is reduced."""
    plateau_factor: float = 0.5
    """Factor on the rate at a plateau."""
    early_stop_patience: int = 6
    """Epochs without a better validation loss before training stops."""
    validation_fraction: float = 0.1
    """Part of each segment, before the test frames, that chooses rate, stopping time and weights."""
    test_fraction: float = 0.2
    """Last part of each segment, which nothing is chosen by."""
    noise_floor_fractions: tuple[float, ...] = (0.25, 0.5)
    """Parts of the training frames on which the network is trained again to bracket the noise floor; empty for none."""
    noise_floor_cost: float = 0.6
    """Largest cost of these trainings together, relative to the main one; it limits their epochs. They run side by side
    where there are cores."""
    thermal: ThermalKind = "none"
    """How the potential depends on temperature: none; linear, W = U - T S with energy and entropy that do not; or
    heat_capacity, where they do. Needs frames of as many temperatures as there are surfaces, two or three."""
    reference_temperature: Annotated[float, Unit("K")] | None = None
    """Temperature about which energy and entropy are expanded; none takes the mean of the data. It changes how fast the
    fit goes, not what can be fitted."""
    labels: LabelSettings = field(default_factory=LabelSettings)
    """Kinds of labels and how much each counts."""
    correction: CorrectionSettings | None = None
    """Series in slow coordinates that is fitted to what the network leaves of the forces; none for none."""
    volume_term: VolumeTermSettings | None = None
    """Potential of the volume alone, fitted at the end to the pressure that all else leaves over; none for none. It
    needs virials and changes no force."""
    precision: Literal["float32", "float64"] = "float32"
    """Precision of the network's arithmetic."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where to train. Only the CPU resumes bit for bit."""
    threads: int | None = 1
    """CPU threads of one fit; none takes all cores, which pays for wide networks on an idle machine only: waiting
    threads make a busy machine many times slower."""
    checkpoint_interval: Annotated[float, Unit("s")] = 20.0
    """Wall time between checkpoints."""
    max_time: Annotated[float, Unit("s")] | None = None
    """Wall time after which a fit stops where it is. Its result then depends on the machine's speed."""
    max_restarts: int = 3
    """Times that a fit may go back to its best weights with half the rate after a non-finite loss."""
    pair_memory: Annotated[float, Unit("GB")] = 4.0
    """Largest size of the stored neighbour lists; larger data sets find them anew for each batch."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        Raises
        ------
        InputError : a value is out of range; the message names the field.
        """
        for name in ("batch_size", "plateau_patience", "early_stop_patience"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), ">= 1")
        for name in ("learning_rate", "gradient_clip", "pair_memory"):
            _require(0.0 < getattr(self, name) < math.inf, name, getattr(self, name), "> 0")
        others = ("checkpoint_interval", "max_restarts", "noise_floor_cost", "plateau_threshold")
        for name in ("epochs", "weight_decay", *others):
            _require(getattr(self, name) >= 0, name, getattr(self, name), ">= 0")
        for name in ("validation_fraction", "test_fraction", "plateau_factor"):
            _require(0.0 < getattr(self, name) < 1.0, name, getattr(self, name), "between 0 and 1")
        _require(0.0 <= self.averaging < 1.0, "averaging", self.averaging, "at least 0 and below 1")
        used = self.validation_fraction + self.test_fraction
        _require(used <= 0.8, "validation_fraction + test_fraction", used, "at most 0.8")
        for fraction in self.noise_floor_fractions:
            _require(0.0 < fraction < 1.0, "noise_floor_fractions", fraction, "between 0 and 1")
        reference = self.reference_temperature
        _require(reference is None or 0.0 < reference < math.inf, "reference_temperature", reference, "> 0")
        _require(
            reference is None or self.thermal != "none", "reference_temperature", reference, "none without 'thermal'"
        )
        _require(self.threads is None or self.threads >= 1, "threads", self.threads, ">= 1")
        _require(self.max_time is None or self.max_time > 0.0, "max_time", self.max_time, "> 0")


def _require(is_met: bool, name: str, value: Any, expected: str) -> None:
    if not is_met:
        raise InputError(f"training setting '{name}' is {value}, expected {expected}")
