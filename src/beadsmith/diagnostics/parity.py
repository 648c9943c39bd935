"""Parity probe: does a force field give a configuration and its mirror image the same energy?"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from beadsmith.diagnostics.energies import NETWORK, TOTAL, Probe

BLIND = 1e-6
"""Relative difference below which a force field does not see mirror images: rounding of float64 makes less than 1e-12,
and an SO(3) network with random weights 1e-5."""


@dataclass(frozen=True, kw_only=True)
class ParityPart:
    """How one part of the energy differs between frames and their mirror images."""

    relative: float
    """Largest |E(R) − E(−R)| of any frame over the mean |E(R)|."""
    difference: float
    """Root-mean-square difference [kJ/mol]."""

    def to_json(self) -> dict[str, Any]:
        """Return both as a JSON-ready dictionary."""
        return {"relative": self.relative, "difference": {"value": self.difference, "unit": "kJ/mol"}}


@dataclass(frozen=True, kw_only=True)
class ParityProbe:
    """Energies of frames against those of their mirror images."""

    n_frames: int
    """Number of frames."""
    parts: dict[str, ParityPart]
    """By part of the energy: ``total``, ``prior``, ``network``, and every channel where there are several."""

    @property
    def is_blind(self) -> bool:
        """Whether the whole force field takes mirror images for the same."""
        return self.parts[TOTAL].relative < BLIND

    def to_json(self) -> dict[str, Any]:
        """Return the probe as a JSON-ready dictionary."""
        return {
            "n_frames": self.n_frames,
            "parts": {name: part.to_json() for name, part in self.parts.items()},
            "is_blind": self.is_blind,
            "is_network_blind": NETWORK not in self.parts or self.parts[NETWORK].relative < BLIND,
        }


def probe_parity(probe: Probe) -> ParityProbe:
    """Compare the energies of all frames R with those of −R, in float64.

    The inversion of all positions is a mirror image in another orientation. It takes every lattice to itself, so it
    needs no other cell.
    """
    frame = np.arange(probe.frames.n_frames)
    positions = probe.frames.positions.astype(np.float64)
    here, there = (probe.compute_energies(sign * positions, frame).parts for sign in (1.0, -1.0))
    return ParityProbe(
        n_frames=len(frame), parts={name: _compare(values, there[name]) for name, values in here.items()}
    )


def _compare(here: np.ndarray, there: np.ndarray) -> ParityPart:
    difference, scale = np.abs(here - there), float(np.abs(here).mean())
    # a part that is zero everywhere, such as a prior without terms, differs by nothing
    relative = float(difference.max()) / scale if scale > 0.0 else 0.0
    return ParityPart(relative=relative, difference=float(np.sqrt(np.mean(difference**2))))
