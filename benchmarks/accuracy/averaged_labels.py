"""Capped alanine: what averaged labels save, at equal cost of atomistic simulation.

    python -m benchmarks.accuracy.averaged_labels [--scratch FOLDER] [--seeds 1 2 3] [--costs 0.25 1 4]

One reference of 20 ns gives all frames, spread evenly over it, so that every set of labels knows the same shapes. A
label of a frame costs the time between saved frames; an averaged label costs the run at fixed beads that it averages.
The error is the mean squared deviation from averaged test labels (204 configurations, 40 ps each) less their own
noise: it is the error of the mean force, without the noise that a loss contains. A set, cost and seed that has a row
in ``averaged_labels.csv`` is not computed again.
"""

import argparse
import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import beadsmith
from beadsmith.config.load import load_config
from beadsmith.force_field import ForceField, ForceFieldRecord
from beadsmith.io.h5md import open_trajectory, read_trajectory
from beadsmith.networks.kinds import build_network
from beadsmith.networks.schnet import SchnetSettings
from beadsmith.pipeline.averaging import average_labels
from beadsmith.priors.fit import PriorFit, fit_prior
from beadsmith.priors.settings import PriorSettings
from beadsmith.progress import silent
from beadsmith.thermal_form import ThermalForm
from beadsmith.training.checkpoint import FitFiles
from beadsmith.training.data import prepare_frames
from beadsmith.training.describe import describe_data
from beadsmith.training.label_noise import weigh_labels
from beadsmith.training.labels import LabelSettings
from beadsmith.training.loop import fit_network
from beadsmith.training.loss import force_field_losses
from beadsmith.training.settings import TrainingSettings
from beadsmith.trajectory import Trajectory

HERE = Path(__file__).parent
OUTPUT = HERE / "averaged_labels.csv"
FIELDS = ("set", "cost_ns", "seed", "n_labels", "error", "standard_error", "relative_error", "steps")

RUN = """\
name: alanine
seed: 1
system: {kind: peptide, sequence: ACE-ALA-NME, force_field: ff99SB-ILDN, solvent: obc2}
state: {temperature: 300 K}
sampling: {timestep: 2 fs, replicas: 4, equilibration: 100 ps, duration: 5 ns, save_interval: 0.05 ps}
mapping: {beads: backbone_cb}
network: {kind: schnet}
"""
SAVE_INTERVAL, CUTOFF, N_STEPS = 0.05, 1.0, 4000
AVERAGES = {"test": (204, 40.0), "1 ps": (4000, 1.0), "5 ps": (800, 5.0), "20 ps": (200, 20.0)}
"""Configurations and length of runs at fixed beads [ps]: 4 ns a set; no other set has the frames of the test set."""

NETWORK = SchnetSettings(n_features=32, n_filters=32, cutoff=CUTOFF)


def main() -> None:
    """Compute the rows that are missing, one after the other."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy.averaged_labels", description=__doc__)
    parser.add_argument("--scratch", type=Path, default=Path("runs/averaged_labels"), help="folder of what is computed")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--costs", type=float, nargs="+", default=[0.25, 1.0, 4.0], help="nanoseconds of labels")
    arguments = parser.parse_args()
    data = Data(arguments.scratch)
    rows = read_rows(OUTPUT)
    for seed in arguments.seeds:
        for cost in arguments.costs:
            for name, parts in data.list_sets(cost).items():
                if (name, f"{cost:g}", str(seed)) not in {(row["set"], row["cost_ns"], row["seed"]) for row in rows}:
                    rows.append({"set": name, "cost_ns": f"{cost:g}", "seed": str(seed), **data.measure(parts, seed)})
                    write_rows(OUTPUT, rows)
                    print(rows[-1], flush=True)


class Data:
    """The reference, its averages, and the prior that all fits share."""

    def __init__(self, scratch: Path) -> None:
        """Compute what is not there yet: 20 ns of sampling and 20 ns at fixed beads, a quarter of an hour."""
        scratch.mkdir(parents=True, exist_ok=True)
        (scratch / "alanine.yaml").write_text(RUN)
        beadsmith.run(scratch / "alanine.yaml", output=scratch / "run", verbs=("sample", "map"))
        self.mapped = scratch / "run" / "mapped.h5"
        self.averages = {}
        for number, (name, (frames, duration)) in enumerate(AVERAGES.items()):
            path = scratch / f"{name.replace(' ', '_')}.h5"
            if not path.exists():
                section = (
                    f"{{frames: {frames}, duration: {duration} ps, sample_interval: 0.02 ps, equilibration: 0 ps}}"
                )
                settings = load_config(scratch / "alanine.yaml", [f"mean_force={section}", f"seed={number + 1}"])
                average_labels(
                    settings, scratch / "run" / "reference.h5", self.mapped, path, identity=name, progress=silent
                )
            self.averages[name] = read_trajectory(path)
        test = {frame.tobytes() for frame in self.averages["test"].positions}
        for name, labels in self.averages.items():
            if name != "test":
                kept = [number for number, frame in enumerate(labels.positions) if frame.tobytes() not in test]
                self.averages[name] = labels.select(np.array(kept))
        self.scratch = scratch
        self.prior: PriorFit = fit_prior((self.take_frames(20_000),), PriorSettings(cutoff=CUTOFF))
        self.record: ForceFieldRecord = describe_data(
            (self.take_frames(20_000),), search_cutoff=CUTOFF, mapping_summary={}, metadata={}
        )

    def take_frames(self, n_frames: int) -> Trajectory:
        """Return frames evenly spread over the run."""
        with open_trajectory(self.mapped) as stored:
            chosen = np.linspace(0, stored.n_frames - 1, n_frames).astype(np.int64)
            return replace(stored.read(chosen), segment=None)

    def take_averages(self, name: str, n_labels: int) -> Trajectory:
        """Return averaged labels drawn at random: equal steps through replicas in turn would take one of them only."""
        labels = self.averages[name]
        drawn = np.random.default_rng(n_labels).permutation(labels.n_frames)[:n_labels]
        return labels.select(np.sort(drawn))

    def list_sets(self, cost: float) -> dict[str, tuple[Trajectory, ...]]:
        """Return all sets of labels of one cost [ns]."""
        sets: dict[str, tuple[Trajectory, ...]] = {
            f"frames every {interval:g} ps": (self.take_frames(round(1000.0 * cost / interval)),)
            for interval in (SAVE_INTERVAL, 0.1, 0.2)
        }
        for name, (_, duration) in AVERAGES.items():
            if name != "test":
                sets[f"averages over {name}"] = (self.take_averages(name, round(1000.0 * cost / duration)),)
        half = 500.0 * cost
        sets["half frames every 0.1 ps, half averages over 1 ps"] = (
            self.take_frames(round(half / 0.1)),
            self.take_averages("1 ps", round(half)),
        )
        return sets

    def measure(self, parts: tuple[Trajectory, ...], seed: int) -> dict[str, Any]:
        """Train on a set and return the error of the mean force."""
        train_rows, validation_rows = divide(parts)
        baseline = ForceField(self.prior.baseline, None, self.record)
        weighing = weigh_labels(
            parts,
            train_rows,
            baseline=baseline,
            baseline_losses=force_field_losses(baseline, parts, train_rows, cutoff=CUTOFF),
            cutoff=CUTOFF,
            form=ThermalForm(),
            settings=LabelSettings(),
        )
        frames = prepare_frames(parts, self.prior.terms, cutoff=CUTOFF, memory_limit=4.0, weights=weighing.weights)
        batch_size = min(256, max(16, len(train_rows) // 4))
        epochs = max(1, N_STEPS * batch_size // len(train_rows))
        generator = torch.Generator().manual_seed(seed)
        fit = fit_network(
            build_network(NETWORK, parts[0].topology.type_names, generator),
            frames,
            train_rows=train_rows,
            validation_rows=validation_rows,
            settings=TrainingSettings(
                epochs=epochs,
                batch_size=batch_size,
                plateau_patience=max(1, epochs // 12),
                early_stop_patience=max(6, epochs // 3),
            ),
            files=FitFiles(checkpoint=self.scratch / "checkpoint", identity="none"),
            seed=seed,
        )
        (self.scratch / "checkpoint").unlink()
        test = self.averages["test"]
        assert test.forces is not None
        assert test.force_noise is not None
        rows = np.stack([np.zeros(test.n_frames, dtype=np.int64), np.arange(test.n_frames)], axis=1)
        force_field = ForceField(self.prior.terms, fit.network, self.record).eval()
        errors = force_field_losses(force_field, (test,), rows, cutoff=CUTOFF)
        errors = errors - np.mean(test.force_noise.astype(np.float64) ** 2, axis=1)
        variance = np.mean(test.forces.astype(np.float64) ** 2)
        return {
            "n_labels": " + ".join(str(part.n_frames) for part in parts),
            "error": f"{errors.mean():.1f}",
            "standard_error": f"{errors.std(ddof=1) / np.sqrt(len(errors)):.1f}",
            "relative_error": f"{errors.mean() / variance:.6f}",
            "steps": str(fit.counters.step),
        }


def divide(parts: tuple[Trajectory, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return training and validation rows, every seventh for validation: frames this far apart are independent."""
    rows = np.concatenate(
        [
            np.stack([np.full(part.n_frames, number), np.arange(part.n_frames)], axis=1)
            for number, part in enumerate(parts)
        ]
    )
    is_validation = np.arange(len(rows)) % 7 == 3
    return rows[~is_validation], rows[is_validation]


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of earlier runs."""
    if not path.exists():
        return []
    with path.open() as file:
        return list(csv.DictReader(file))


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """Replace the file."""
    with path.open("w") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
