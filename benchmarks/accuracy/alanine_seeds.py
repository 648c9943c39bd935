"""Capped alanine: the free-energy surface of three seeds, the prior alone and five beads, from one reference.

    beadsmith run examples/alanine.yaml
    python -m benchmarks.accuracy.alanine_seeds [--run runs/alanine] [--seeds 1 2 3] [--scratch FOLDER]

A seed is one of network, order of the frames, both simulations and the starts; the reference is that of the run. Rows
that ``alanine_seeds.json`` has already are not computed again. ``labels`` tests the reference itself: Stein's identity,
and what the force maps leave of the noise.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import beadsmith
from beadsmith.config.settings import RunSettings
from beadsmith.force_field import ForceField
from beadsmith.io.h5md import open_trajectory
from beadsmith.io.records import write_json
from beadsmith.simulation.start import FileStart
from beadsmith.training.loss import force_field_losses
from beadsmith.units import thermal_energy

HERE = Path(__file__).parent
EXAMPLE = HERE.parents[1] / "examples" / "alanine.yaml"
MOLECULE, SURFACE, N_BINS = "ACE-ALA-NME", "phi, psi", "36"
N_BLOCKS = 20
N_FRAMES = 10_000


def main() -> None:
    """Compute the rows that are missing, one after the other."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy.alanine_seeds", description=__doc__)
    parser.add_argument("--run", type=Path, default=Path("runs/alanine"), help="run folder of examples/alanine.yaml")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="seeds of network and simulations")
    parser.add_argument(
        "--rows",
        nargs="+",
        default=None,
        help="only these rows (their names as in the file)",
    )
    parser.add_argument("--scratch", type=Path, default=Path("runs/alanine_seeds"), help="folder of what is computed")
    parser.add_argument("--output", type=Path, default=HERE / "alanine_seeds.json", help="file of the rows")
    arguments = parser.parse_args()
    settings = beadsmith.load_config(EXAMPLE)
    names = arguments.rows or [
        "labels",
        *(f"seed {seed}" for seed in arguments.seeds),
        "prior",
        "harmonic prior",
        "five beads",
        "five beads, distances",
    ]
    for name in names:
        if name in read_rows(arguments.output):
            print(f"{name}: has a row", flush=True)
            continue
        row = measure(name, settings, arguments.run, arguments.scratch / name.replace(" ", "_"))
        write_json(arguments.output, {**read_rows(arguments.output), name: row})
        print(name, json.dumps(row), flush=True)


def read_rows(path: Path) -> dict[str, Any]:
    """Return the rows computed so far, by name."""
    return json.loads(path.read_text()) if path.is_file() else {}


def measure(name: str, settings: RunSettings, run: Path, folder: Path) -> dict[str, Any]:
    """Return one row; what it needs is computed in a folder of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    mapped = run / "mapped.h5"
    if name == "labels":
        return test_stein(mapped) | measure_residuals(run)
    if name in ("prior", "harmonic prior"):
        # what the network is trained on top of; and bonds, angles and the improper alone, as in published work
        if name == "harmonic prior":
            settings = replace(settings, prior=replace(settings.prior, dihedrals="none"))
        plain = replace(settings.training, epochs=1, early_stop_patience=1, correction=None)
        beadsmith.train(
            plain, settings.network, settings.prior, (mapped,), folder / "force_field",
            baseline_output=folder / "pair_spline", seed=settings.seed, identity=name,
        )  # fmt: skip
        force_field = beadsmith.load_force_field(folder / "force_field")
        force_field.network = None
        return simulate_and_evaluate(force_field, settings, mapped, folder, seed=settings.seed)
    if name.startswith("five beads"):
        if name.endswith("distances"):
            # series of cosines alone: nothing left can tell a molecule from its mirror image
            settings = replace(settings, prior=replace(settings.prior, dihedrals="cosine"))
        mapped = folder / "mapped.h5"
        beadsmith.map_reference(
            run / "reference.h5", mapped, replace(settings.mapping, beads="backbone"), identity=name
        )
        settings = replace(settings, training=replace(settings.training, correction=None))
    seed = int(name.split()[1]) if name.startswith("seed") else settings.seed
    summary = beadsmith.train(
        settings.training, settings.network, settings.prior, (mapped,), folder / "force_field",
        baseline_output=folder / "pair_spline", seed=seed, identity=name,
    )  # fmt: skip
    losses = {model: entry["test"]["value"] for model, entry in summary["losses"].items()}
    row: dict[str, Any] = {"loss": losses["network"], "loss_of_prior": losses["prior"]}
    row["loss_ratio"] = losses["network"] / losses["prior"]
    if summary["correction"] is not None:
        (molecule,) = summary["correction"]["molecules"]
        # none where left-out blocks say that the network needs none
        row["correction"] = molecule.get("basins")
    force_field = beadsmith.load_force_field(folder / "force_field")
    return row | simulate_and_evaluate(force_field, settings, mapped, folder, seed=seed)


def simulate_and_evaluate(
    force_field: ForceField, settings: RunSettings, mapped: Path, folder: Path, *, seed: int
) -> dict[str, Any]:
    """Return populations and divergences of a simulation with the example's settings."""
    output = folder / "simulation.h5"
    run = beadsmith.simulate(
        force_field, FileStart(path=mapped), settings.simulation, output,
        temperature=settings.state.temperature, seed=seed, identity=folder.name,
    )  # fmt: skip
    evaluation = beadsmith.evaluate(mapped, {"network": output}, settings.evaluation)
    write_json(folder / "evaluation.json", evaluation)
    comparison = evaluation["comparisons"]["network"]["molecules"][MOLECULE]
    surface = comparison["surfaces"][SURFACE][N_BINS]
    mirrored = surface["symmetrised"]
    return {
        "populations": read_populations(evaluation, "network"),
        "reference": read_populations(evaluation, "reference"),
        "jensen_shannon": read_value(surface["jensen_shannon"]),
        "jensen_shannon_halves": {
            which: entry["value"] for which, entry in surface["jensen_shannon"]["halves"].items()
        },
        "jensen_shannon_symmetrised": None if mirrored is None else read_value(mirrored["jensen_shannon"]),
        "mirror": comparison["mirror"],
        "stopped_replicas": len(run["stopped"]),
        "steps_per_second": run["speed"]["steps_per_second"],
    }


def read_populations(evaluation: dict[str, Any], system: str) -> dict[str, Any]:
    """Return the population of every basin with its error."""
    basins = evaluation["systems"][system]["molecules"][MOLECULE]["basins"]
    return {name: read_value(entry) for name, entry in basins.items()}


def read_value(entry: dict[str, Any]) -> dict[str, float]:
    """Return value and standard error of a measurement."""
    return {"value": entry["value"], "error": entry["standard_error"]}


def test_stein(mapped: Path) -> dict[str, Any]:
    """Return the deviations from Stein's identity in standard errors, over all pairs of beads and two functions.

    ⟨g · f⟩ = −kT ⟨div g⟩ for any field g of the positions. Here g moves a pair apart: along its vector r, with
    divergence 6, and along its unit vector, with divergence 4/r.
    """
    frames = beadsmith.read_trajectory(mapped)
    positions, forces = frames.positions.astype(np.float64), frames.forces.astype(np.float64)
    kt = thermal_energy(frames.state_point.temperature)
    deviations = {}
    for i in range(positions.shape[1]):
        for j in range(i + 1, positions.shape[1]):
            vector, force = positions[:, j] - positions[:, i], forces[:, j] - forces[:, i]
            distance = np.linalg.norm(vector, axis=1)
            along = np.einsum("fx,fx->f", vector, force)
            for kind, excess in (("r", along + 6.0 * kt), ("r/|r|", along / distance + 4.0 * kt / distance)):
                blocks = np.array([block.mean() for block in np.array_split(excess, N_BLOCKS)])
                error = blocks.std(ddof=1) / np.sqrt(N_BLOCKS)
                deviations[f"{i}-{j} {kind}"] = float(blocks.mean() / error)
    values = np.array(list(deviations.values()))
    worst = max(deviations, key=lambda key: abs(deviations[key]))
    return {
        "stein_n": len(values),
        "stein_largest": {"pair": worst, "standard_errors": deviations[worst]},
        "stein_rms": float(np.sqrt(np.mean(values**2))),
    }


def measure_residuals(run: Path) -> dict[str, Any]:
    """Return what the prior leaves of the labels of the bare forces on the beads' atoms, and of the optimal map.

    Both maps have the same mean force, so what is left differs by the noise alone.
    """
    force_field = beadsmith.load_force_field(run / "force_field")
    force_field.network = None
    mapping = json.loads((run / "record.json").read_text())["stages"]["map"]["summary"]
    (molecule,) = mapping["molecules"]
    atoms = np.argmax(np.array(molecule["position_weights"]), axis=1)
    with open_trajectory(run / "mapped.h5") as mapped, open_trajectory(run / "reference.h5") as reference:
        chosen = np.linspace(0, mapped.n_frames - 1, N_FRAMES).astype(np.int64)
        beads, bare = mapped.read(chosen), reference.read(chosen).forces
    assert bare is not None
    rows = np.stack([np.zeros(N_FRAMES, np.int64), np.arange(N_FRAMES)], axis=1)
    squares = {
        name: float(np.mean(force_field_losses(force_field, (frames,), rows, cutoff=force_field.cutoff)))
        for name, frames in (("slice", replace(beads, forces=bare[:, atoms])), ("optimal", beads))
    }
    return {"residual_of_prior": squares, "residual_ratio": squares["optimal"] / squares["slice"]}


if __name__ == "__main__":
    main()
