"""Cross-validate priors, linear force matching and SchNet on the published capped alanine, fold by contiguous fold.

    python -m benchmarks.accuracy.alanine_folds [--data FOLDER] [--labels slice optimal] [--seeds 1 2 3]

Two label sets, both with the five backbone beads: ``slice`` is the set of the CGSchNet papers, 10,000 frames with the
forces of the bare atoms (folder ``alanine-cg-cgnet``); ``optimal`` is 2,000 atomistic frames of the same run (folder
``alanine-aa-proteka``) with the force map fitted anew in each fold, to the frames of the other four. The priors and
the linear force field are fitted to all frames of the other four folds; the network trains on seven eighths of them
and takes rate, stopping time and weights from the last eighth. Nothing is chosen by a held-out frame. A fold, seed and
label set that has a row in ``alanine_folds.csv`` is not computed again; ``alanine_folds.md`` is the table that the
documentation shows.
"""

import argparse
import csv
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from beadsmith.importing.run import import_reference
from beadsmith.importing.settings import FileUnitSettings, MoleculeSites, ReferenceSettings
from beadsmith.io.h5md import read_trajectory, write_trajectory
from beadsmith.mapping.apply import build_mapping, map_reference
from beadsmith.mapping.definitions import build_templates
from beadsmith.mapping.frames import build_molecule_tree, map_trajectory
from beadsmith.mapping.noise import fit_weights, sum_force_products
from beadsmith.mapping.settings import BeadDefinition, MappingSettings, MoleculeBeads
from beadsmith.networks.schnet import SchnetSettings
from beadsmith.priors.fit import compute_frame_losses, fit_prior
from beadsmith.priors.settings import PriorSettings
from beadsmith.training.fit import train
from beadsmith.training.settings import TrainingSettings
from beadsmith.trajectory import StatePoint, Trajectory

from .__main__ import read_rows

DATA = Path(os.environ.get("BEADSMITH_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
N_FOLDS = 5
STATE = StatePoint(temperature=300.0)
REAL = FileUnitSettings(style="real")
SQUARE = 41.84**2
"""(kcal/mol/Å)² in (kJ/mol/nm)²."""

ATOMS = ("C", "N", "CA", "C", "N")
BONDS = ((1, 2), (2, 3), (3, 4), (4, 5))
BEADS = ("ACE_C", "ALA_N", "ALA_CA", "ALA_C", "NME_N")

HARMONIC = PriorSettings(dihedrals="none", repulsion="none")
NETWORK = SchnetSettings(n_features=32, n_filters=32, cutoff=1.0)
"""That of ``examples/alanine.yaml``: all pairs are within the cutoff."""
TRAINING = TrainingSettings(
    epochs=300,
    batch_size=64,
    learning_rate=1e-3,
    weight_decay=1e-2,
    averaging=0.99,
    plateau_patience=10,
    early_stop_patience=40,
    validation_fraction=0.1,
    test_fraction=1.0 / N_FOLDS,
    noise_floor_fractions=(),
)
"""From the validation losses of the last fold of the optimal labels, where this and ten variants lay within 0.6."""

MODELS = {
    "no_force": "no force",
    "harmonic_prior": "harmonic prior",
    "default_prior": "default prior",
    "linear": "linear force matching",
    "network": "SchNet and prior",
}
COLUMNS = ("labels", "fold", "seed", *MODELS, "epochs", "best_epoch", "seconds")


def main() -> None:
    """Compute the rows that are missing and write both tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy.alanine_folds", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the third-party data (BEADSMITH_DATA)")
    parser.add_argument("--labels", nargs="+", choices=list(LABELS), default=list(LABELS), help="which labels")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="seeds of weights and frame order")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent, help="folder of the results")
    arguments = parser.parse_args()
    table = arguments.output / "alanine_folds.csv"
    for labels in arguments.labels:
        read_fold = LABELS[labels](arguments.data)
        for seed in arguments.seeds:
            for fold in range(N_FOLDS):
                rows = read_rows(table)
                key = (labels, str(fold), str(seed))
                if any((row["labels"], row["fold"], row["seed"]) == key for row in rows):
                    continue
                row = {"labels": labels, "fold": fold, "seed": seed, **measure_fold(read_fold(fold), fold, seed=seed)}
                write_rows([*rows, row], table)
                print(", ".join(f"{name} {value}" for name, value in row.items()), flush=True)
    text = "\n".join(format_table(read_rows(table))) + "\n"
    (arguments.output / "alanine_folds.md").write_text(text)
    print(text)


def read_slice_frames(data: Path) -> Callable[[int], Trajectory]:
    """Return the frames of the papers with the forces of the bare atoms, the same for every fold."""
    arrays = [np.load(data / "alanine-cg-cgnet" / f"ala2_{name}.npy") for name in ("coordinates", "forces")]
    positions, forces = (array.astype(np.float64) for array in arrays)
    # unwrapped, up to 200 Å from the origin: too far for float32
    positions -= positions.mean(axis=1, keepdims=True)
    carriers = tuple(BeadDefinition(name=name, atoms=(f"#{k}",)) for k, name in enumerate(BEADS, start=1))
    with tempfile.TemporaryDirectory() as folder:
        frames, reference, mapped = (Path(folder) / name for name in ("frames.npz", "reference.h5", "mapped.h5"))
        np.savez(frames, positions=positions, forces=forces)
        settings = ReferenceSettings(
            files=(str(frames),),
            molecules=(MoleculeSites(name="alanine", names=ATOMS, bonds=BONDS),),
            units=REAL,
            constraints="none",
        )
        import_reference(settings, STATE, reference, identity="alanine")
        beads = MappingSettings(definitions=(MoleculeBeads(name="alanine", beads=carriers),), forces="slice")
        map_reference(reference, mapped, beads, identity="alanine")
        trajectory = read_trajectory(mapped)
    return lambda fold: trajectory


def read_optimal_frames(data: Path) -> Callable[[int], Trajectory]:
    """Return the atomistic frames as beads, with the force map of a fold fitted to the frames of the other four."""
    folder = data / "alanine-aa-proteka"
    settings = ReferenceSettings(
        files=(str(folder / "ala2_all_atom.npz"),), topology=str(folder / "ala2_all_atom.pdb"), units=REAL
    )
    with tempfile.TemporaryDirectory() as scratch:
        import_reference(settings, STATE, Path(scratch) / "reference.h5", identity="alanine")
        atoms = read_trajectory(Path(scratch) / "reference.h5")

    def map_fold(fold: int) -> Trajectory:
        beads = MappingSettings(beads="backbone")
        templates = build_templates(atoms.topology, beads)
        train = np.concatenate(split_folds(atoms.n_frames, fold)[0])
        (products,) = sum_force_products([atoms.select(train)], templates, n_frames=len(train))
        # as for the numbers known for this set: 1e3 (kcal/mol/Å)² on the summed Gram matrix
        mean_diagonal = np.trace(products.mean()) / len(templates[0].rigid_groups)
        regularization = 1e3 * SQUARE / products.n_samples.sum() / mean_diagonal
        weights = fit_weights(products, templates[0], regularization=regularization)
        mapping = build_mapping(atoms.topology, templates, (weights,), beads)
        return map_trajectory(atoms, mapping, build_molecule_tree(atoms.topology, (templates[0].molecules,)))

    return map_fold


LABELS = {"slice": read_slice_frames, "optimal": read_optimal_frames}


def split_folds(n_frames: int, fold: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Return the frames of the other folds, beginning after the held-out one and going round, and those held out."""
    parts = np.array_split(np.arange(n_frames), N_FOLDS)
    return parts[fold + 1 :] + parts[:fold], parts[fold]


def measure_fold(
    trajectory: Trajectory,
    fold: int,
    *,
    seed: int,
    network: SchnetSettings = NETWORK,
    training: TrainingSettings = TRAINING,
) -> dict[str, Any]:
    """Return the losses of all models on one fold [(kcal/mol/Å)²], and how the network's fit went."""
    others, held = split_folds(trajectory.n_frames, fold)
    rows = np.concatenate(others)
    default = fit_prior((trajectory,), PriorSettings(), frames=(rows,))
    harmonic = fit_prior((trajectory,), HARMONIC, frames=(rows,))
    models = {
        "no_force": [],
        "harmonic_prior": harmonic.terms,
        "default_prior": default.terms,
        "linear": default.baseline,
    }
    losses = {name: compute_frame_losses(terms, trajectory, held).mean() for name, terms in models.items()}
    # training takes its test frames from the end, and its validation frames from before them
    last = replace(trajectory.select(np.concatenate([rows, held])), times=trajectory.times)
    with tempfile.TemporaryDirectory() as folder:
        write_trajectory(Path(folder) / "mapped.h5", last)
        summary = train(
            training,
            network,
            PriorSettings(),
            (Path(folder) / "mapped.h5",),
            Path(folder) / "force_field",
            baseline_output=Path(folder) / "pair_spline",
            seed=seed,
            identity="alanine",
        )
    assert summary["n_frames"]["test"] == len(held)
    losses["network"] = summary["losses"]["network"]["test"]["value"]
    fit = summary["network"]
    return {
        **{name: float(loss) / SQUARE for name, loss in losses.items()},
        **{name: fit[name] for name in ("epochs", "best_epoch", "seconds")},
    }


def write_rows(rows: list[dict[str, Any]], path: Path) -> None:
    """Write all rows, losses to 1e-3."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for row in rows:
            writer.writerow({key: f"{value:.3f}" if isinstance(value, float) else value for key, value in row.items()})


def collect_losses(rows: list[dict[str, Any]], labels: str) -> dict[str, np.ndarray]:
    """Return the losses of each model (seeds, folds) on one label set."""
    seeds = sorted({int(row["seed"]) for row in rows if row["labels"] == labels})
    losses = {name: np.full((len(seeds), N_FOLDS), np.nan) for name in MODELS}
    for row in rows:
        if row["labels"] == labels:
            for name, values in losses.items():
                values[seeds.index(int(row["seed"])), int(row["fold"])] = float(row[name])
    return losses


def format_table(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Return the lines of a Markdown table: folds, their mean, and the mean gain on the harmonic prior."""
    folds = " | ".join(f"fold {fold + 1}" for fold in range(N_FOLDS))
    yield f"| labels | model | {folds} | mean | gain on the harmonic prior |"
    yield "|---" * (N_FOLDS + 4) + "|"
    for labels in LABELS:
        losses = collect_losses(rows, labels)
        for name, title in MODELS.items():
            values = losses[name]
            if not values.size:
                continue
            mean = f"{values.mean():.2f}"
            if name == "network" and len(values) > 1:
                mean += f" (seeds {values.mean(axis=1).min():.2f} to {values.mean(axis=1).max():.2f})"
            gains = (losses["harmonic_prior"] - values).mean(axis=0)
            error = gains.std(ddof=1) / N_FOLDS**0.5
            gain = "" if name in ("no_force", "harmonic_prior") else f"{gains.mean():.2f} ± {error:.2f}"
            cells = [labels, title, *(f"{value:.2f}" for value in values.mean(axis=0)), mean, gain]
            yield "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
