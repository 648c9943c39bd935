"""How much of its energy an SO(3) MACE of random weights owes to the hand of a molecule, for several shapes.

    beadsmith sample examples/peptides/capped_alanine.yaml
    python -m benchmarks.accuracy.mirror_sensitivity [--references runs]

Root mean square of E(R) - E(mirror image of R) over the standard deviation of E(R), in float64, over frames of capped
alanine as five beads: mean of some seeds and its standard error. A network that starts with a small value has to find
the hand against the noise of the forces.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import beadsmith
from beadsmith.batch import build_batch
from beadsmith.energy import AbstractNetwork, predict_network
from beadsmith.io.h5md import open_trajectory
from beadsmith.io.records import write_json
from beadsmith.neighbors import find_pairs
from beadsmith.networks.kinds import build_network
from beadsmith.networks.mace import MaceSettings
from beadsmith.statistics import mean_and_error
from beadsmith.trajectory import Trajectory

HERE = Path(__file__).parent
PEPTIDES = HERE.parents[1] / "examples" / "peptides"
CUTOFF, N_FRAMES, N_SEEDS = 0.5, 200, 8
SHAPES = [
    MaceSettings(
        symmetry="SO(3)",
        n_features=8,
        l_max=2,
        l_max_hidden=hidden,
        correlation=correlation,
        n_layers=n_layers,
        cutoff=CUTOFF,
        average_neighbors=4.0,
        radial_widths=(32, 32),
    )
    for n_layers in (2, 3)
    for hidden in (1, 2)
    for correlation in (2, 3)
]


def main() -> None:
    """Measure all shapes and write ``mirror_sensitivity.json``."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy.mirror_sensitivity", description=__doc__)
    parser.add_argument("--references", type=Path, default=Path("runs"), help="folder of the sampled run folders")
    parser.add_argument(
        "--scratch", type=Path, default=Path("runs/mirror_sensitivity"), help="folder of the mapped run"
    )
    arguments = parser.parse_args()
    frames = read_frames(arguments.references, arguments.scratch)
    rows = [measure(shape, frames) for shape in SHAPES]
    write_json(HERE / "mirror_sensitivity.json", {"n_frames": N_FRAMES, "n_seeds": N_SEEDS, "shapes": rows})
    for row in rows:
        print(row)


def read_frames(references: Path, scratch: Path) -> Trajectory:
    """Return frames of five beads, evenly spread over the reference."""
    beadsmith.run(
        PEPTIDES / "capped_alanine.yaml",
        (f"mapping.files=[{PEPTIDES / 'maps' / 'core.yaml'}]",),
        output=scratch,
        verbs=("map",),
        reuse=[references / "capped_alanine"],
    )
    with open_trajectory(scratch / "mapped.h5") as stored:
        return stored.read(np.linspace(0, stored.n_frames - 1, N_FRAMES).astype(np.int64))


def measure(settings: MaceSettings, frames: Trajectory) -> dict[str, Any]:
    """Return how much of the energy depends on the hand, over networks of one shape."""
    mirrored = replace(frames, positions=frames.positions * np.array([-1.0, 1.0, 1.0], dtype=np.float32))
    shares = []
    for seed in range(N_SEEDS):
        network = build_network(settings, frames.topology.type_names, torch.Generator().manual_seed(seed)).double()
        here, there = (compute_energies(network, which) for which in (frames, mirrored))
        shares.append(np.sqrt(np.mean((here - there) ** 2)) / here.std())
    mean, error = mean_and_error(shares)
    return {
        "n_layers": settings.n_layers,
        "l_max_hidden": settings.l_max_hidden,
        "correlation": settings.correlation,
        "share": float(mean),
        "error": float(error),
        "n_parameters": sum(p.numel() for p in network.parameters()),
    }


def compute_energies(network: AbstractNetwork, frames: Trajectory) -> np.ndarray:
    """Return the energy of each frame."""
    batch = build_batch(frames, np.arange(frames.n_frames), dtype=torch.float64)
    with torch.no_grad():
        return predict_network(network, batch, find_pairs(batch, CUTOFF)).energy.numpy()


if __name__ == "__main__":
    main()
