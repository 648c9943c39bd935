"""What is measured: networks with one set of hyperparameters for all libraries, systems, and which go together."""

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from benchmarks.speed.frames import build_liquid, build_replicas

LIQUID_CUTOFF = 1.0
"""Cutoff in a liquid [nm]; about 62 neighbours."""
MOLECULE_CUTOFF = 2.0
"""Cutoff in a molecule of ten beads [nm]: every bead sees all others."""
MOLECULE_TYPES = 4
"""Bead types of the molecule; the liquids have one."""

Task = Literal["training step", "energy and forces"]


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A library to compare with."""

    name: str
    """Name in tables."""
    module: str
    """File in `candidates` that runs it."""
    environment: str | None = None
    """Environment of its own, see `environments`; None is ours."""
    variants: tuple[str, ...] = ("",)
    """Ways to run it; the fastest counts."""


PEERS = {
    "hipnn": (Peer(name="hippynn", module="hippynn_networks", variants=("_pytorch_raw", "pytorch", "numba")),),
    "schnet": (
        Peer(name="PyTorch Geometric", module="pyg_schnet"),
        Peer(name="schnetpack", module="schnetpack_schnet", environment="schnetpack"),
    ),
    "mace": (Peer(name="mace-torch", module="mace_torch", environment="mace"),),
}
OURS = Peer(name="beadsmith", module="beadsmith_networks")


@dataclass(frozen=True, kw_only=True)
class Network:
    """One architecture; `options` are in the words of `candidates`, lengths and types come from the system."""

    name: str
    """Name in tables."""
    kind: str
    """Which peers have it: hipnn, schnet or mace."""
    options: tuple[tuple[str, Any], ...]
    """Hyperparameters."""
    is_leading: bool
    """Whether it is measured in every case; the others only with 258 beads and 4 frames a batch."""

    def describe(self, system: "System") -> dict[str, Any]:
        """Return what a worker builds the network from."""
        lengths: dict[str, Any] = {"cutoff": system.cutoff, "n_types": system.n_types}
        if self.kind == "hipnn":
            lengths |= {"soft_min": 0.24, "soft_max": 0.87 * system.cutoff}
        if self.kind == "mace":
            lengths["mean_neighbours"] = system.mean_neighbours
        return {"kind": self.kind} | dict(self.options) | lengths


@dataclass(frozen=True, kw_only=True)
class System:
    """What the network is applied to."""

    name: str
    """Name in tables."""
    n_sites: int
    """Beads of one frame or molecule."""
    n_copies: int
    """Frames of a batch, or replicas."""
    is_molecule: bool = False
    """A molecule in open space, not a liquid."""

    @property
    def cutoff(self) -> float:
        """Cutoff [nm]."""
        return MOLECULE_CUTOFF if self.is_molecule else LIQUID_CUTOFF

    @property
    def n_types(self) -> int:
        """Number of bead types."""
        return MOLECULE_TYPES if self.is_molecule else 1

    @property
    def mean_neighbours(self) -> float:
        """Neighbours of a bead, rounded: MACE divides by it."""
        return 9.0 if self.is_molecule else 62.0

    def build(self) -> dict[str, np.ndarray]:
        """Return the frames."""
        if self.is_molecule:
            return build_replicas(self.n_copies, self.n_types, self.cutoff)
        return build_liquid(self.n_sites, self.n_copies, self.cutoff)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One line of the table, before peers and threads."""

    network: Network
    system: System
    task: Task

    @property
    def title(self) -> str:
        """Kind and name of the network, system and task in one line."""
        return f"{self.network.kind}: {self.network.name} | {self.system.name} | {self.task}"


def _hipnn(l_max: int, n_interactions: int, n_features: int, is_leading: bool) -> Network:
    options = {"l_max": l_max, "n_interactions": n_interactions, "n_features": n_features}
    options |= {"n_sensitivities": 20, "n_atom_layers": 3}
    plural = "s" if n_interactions > 1 else ""
    name = f"HIP-NN-TS l={l_max}, {n_interactions} interaction{plural}, {n_features} features"
    return Network(name=name, kind="hipnn", options=tuple(options.items()), is_leading=is_leading)


_LEADING = ((1, 1, 20), (2, 2, 20), (1, 2, 128))
HIPNN = tuple(_hipnn(a, k, f, (a, k, f) in _LEADING) for f in (20, 128) for k in (1, 2) for a in (1, 2))
SCHNET = Network(
    name="SchNet 128 features, 3 interactions",
    kind="schnet",
    options=(("n_features", 128), ("n_interactions", 3), ("n_radial", 50)),
    is_leading=True,
)
MACE = Network(
    name="MACE 32 channels, L=1, correlation 2",
    kind="mace",
    options=(
        ("n_channels", 32),
        ("hidden_l_max", 1),
        ("correlation", 2),
        ("l_max", 3),
        ("n_interactions", 2),
        ("n_radial", 8),
        ("cutoff_power", 5),
        ("radial_widths", (64, 64, 64)),
        ("n_readout", 16),
    ),
    is_leading=True,
)
NETWORKS = (*HIPNN, SCHNET, MACE)

LIQUID = System(name="liquid, 258 beads", n_sites=258, n_copies=1)
LARGE_LIQUID = System(name="liquid, 4,000 beads", n_sites=4000, n_copies=1)
MOLECULES = tuple(System(name=f"10 beads x {n:,}", n_sites=10, n_copies=n, is_molecule=True) for n in (1, 100, 1000))
BATCHES = tuple(
    replace(LIQUID, name=f"258 beads, {n} frame{'s' if n > 1 else ''} a batch", n_copies=n) for n in (1, 4, 10)
)


def select_cases(extent: Literal["quick", "all"], only: str | None = None) -> list[Case]:
    """Return the cases in the order in which they run.

    Parameters
    ----------
    extent : All, or for each leading network one training step and the forces of the small systems.
    only : Words that must all occur in the network's kind or name, the system or the task.
    """
    cases = []
    for network in NETWORKS:
        if extent == "quick" and not network.is_leading:
            continue
        wide = extent == "all" and network.is_leading
        batches = BATCHES if wide else BATCHES[1:2]
        systems = (LIQUID, LARGE_LIQUID, *MOLECULES) if wide else (LIQUID, MOLECULES[1])
        cases += [Case(network=network, system=system, task="training step") for system in batches]
        cases += [Case(network=network, system=system, task="energy and forces") for system in systems]
    words = (only or "").lower().split()
    return [case for case in cases if all(word in case.title.lower() for word in words)]
