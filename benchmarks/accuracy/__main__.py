"""Train all networks on the same methanol frames for the same wall time, simulate, and compare with the reference.

    python -m benchmarks.accuracy [--seconds 120] [--seeds 1 2] [--run FOLDER] [--output FOLDER]

The reference is that of a finished ``make demo`` (its run folder) or is sampled first, with the settings of
``examples/methanol.yaml``. Every candidate trains for the same wall time from fresh weights, is simulated with the
demo's settings and measured by the same `evaluate`. The pair spline needs no training time to speak of. Writes
``results.csv`` and ``results.md``; a candidate that has a row is not computed again.
"""

import argparse
import csv
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from beadsmith.analysis.evaluate import evaluate
from beadsmith.config.load import load_config
from beadsmith.config.settings import RunSettings
from beadsmith.errors import PhysicsError
from beadsmith.force_field import load_force_field
from beadsmith.mapping.apply import map_reference
from beadsmith.networks.hipnn import HipnnSettings
from beadsmith.networks.kinds import NetworkSettings
from beadsmith.networks.mace import MaceSettings
from beadsmith.networks.schnet import SchnetSettings
from beadsmith.sampling.run import sample
from beadsmith.simulation.run import simulate
from beadsmith.simulation.start import FileStart
from beadsmith.training.fit import train

EXAMPLE = Path(__file__).parents[2] / "examples" / "methanol.yaml"
CANDIDATES: dict[str, NetworkSettings | None] = {
    "pair spline": None,
    "HIP-NN-TS": HipnnSettings(),
    "SchNet": SchnetSettings(),
    "MACE": MaceSettings(),
}
MANY_EPOCHS = 10_000
COLUMNS = (
    "network", "seed", "parameters", "training_s", "epochs", "test_loss", "test_loss_error", "explained",
    "explained_error", "rdf_difference", "rdf_error", "rdf_by_chance", "adf_difference", "adf_error",
    "peak_shift_nm", "peak_height_ratio", "closest_nm", "temperature_k", "stopped_replicas", "pressure_bar",
    "steps_per_second", "ns_per_day",
)  # fmt: skip


def main() -> None:
    """Compute the rows that are missing and write both tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy", description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=120.0, help="training time of each network [s]")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1], help="seeds of weights and frame order")
    parser.add_argument("--run", type=Path, default=None, help="run folder of a finished 'make demo'")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent, help="folder of the results")
    arguments = parser.parse_args()
    settings = load_config(EXAMPLE)
    with tempfile.TemporaryDirectory() as scratch:
        mapped = find_reference(settings, arguments.run, Path(scratch))
        for seed in arguments.seeds:
            for name, network in CANDIDATES.items():
                rows = read_rows(arguments.output / "results.csv")
                if any((row["network"], row["seed"]) == (name, str(seed)) for row in rows):
                    print(f"{name}, seed {seed}: has a row", flush=True)
                    continue
                folder = Path(scratch) / f"{name} {seed}"
                row = measure(name, network, settings, mapped, folder, seed=seed, seconds=arguments.seconds)
                write_rows([*rows, row], arguments.output / "results.csv")
                print(", ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    text = "\n".join(format_table(read_rows(arguments.output / "results.csv"))) + "\n"
    (arguments.output / "results.md").write_text(text)
    print(text)


def find_reference(settings: RunSettings, run: Path | None, scratch: Path) -> Path:
    """Return the mapped reference of a finished run, or sample and map one."""
    if run is not None:
        return run / "mapped.h5"
    reference, mapped = scratch / "reference.h5", scratch / "mapped.h5"
    print("sampling the reference (about 5 minutes)", flush=True)
    state = settings.state.to_state_point()
    sample(settings.sampling, settings.system, state, reference, seed=settings.seed, identity="accuracy")
    map_reference(reference, mapped, settings.mapping, identity="accuracy")
    return mapped


def measure(
    name: str,
    network: NetworkSettings | None,
    settings: RunSettings,
    mapped: Path,
    folder: Path,
    *,
    seed: int,
    seconds: float,
) -> dict[str, Any]:
    """Train, simulate and evaluate one candidate; return its row."""
    training = replace(
        settings.training,
        epochs=MANY_EPOCHS,
        early_stop_patience=MANY_EPOCHS,
        max_time=seconds,
        noise_floor_fractions=(),
    )
    start = time.perf_counter()
    summary = train(
        training,
        network,
        settings.prior,
        (mapped,),
        folder / "force_field",
        baseline_output=folder / "pair_spline",
        seed=seed,
        identity=name,
    )
    fit, model = summary["network"], "pair_spline" if network is None else "network"
    row: dict[str, Any] = {
        "network": name,
        "seed": seed,
        "parameters": 0 if fit is None else fit["n_parameters"],
        "training_s": time.perf_counter() - start if fit is None else fit["seconds"],
        "epochs": 0 if fit is None else fit["epochs"],
        "test_loss": summary["losses"][model]["test"]["value"],
        "test_loss_error": summary["losses"][model]["test"]["error"],
        "explained": summary["explained_variance"][model]["test"]["value"],
        "explained_error": summary["explained_variance"][model]["test"]["error"],
    }
    output = folder / "simulation.h5"
    try:
        run = simulate(
            load_force_field(folder / "force_field"),
            FileStart(path=mapped),
            settings.simulation,
            output,
            temperature=settings.state.temperature,
            seed=seed,
            identity=name,
        )
    except PhysicsError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return row | {"stopped_replicas": settings.simulation.replicas}
    evaluation = evaluate(mapped, {model: output}, settings.evaluation)
    return row | read_distances(evaluation, model) | {
        "stopped_replicas": len(run["stopped"]),
        "steps_per_second": run["speed"]["steps_per_second"],
        "ns_per_day": run["speed"]["ns_per_day"],
    }  # fmt: skip


def read_distances(evaluation: dict[str, Any], model: str) -> dict[str, Any]:
    """Return what the table shows of an evaluation with one kind of bead."""
    system, comparison = evaluation["systems"][model], evaluation["comparisons"][model]
    (radial,), (angular,) = comparison["rdf"].values(), comparison["adf"].values()
    (closest,) = system["closest_pair"].values()
    return {
        "rdf_difference": radial["mean_difference"]["value"],
        "rdf_error": radial["mean_difference"]["standard_error"],
        "rdf_by_chance": radial["expected_by_chance"]["value"],
        "adf_difference": angular["mean_difference"]["value"],
        "adf_error": angular["mean_difference"]["standard_error"],
        "peak_shift_nm": radial["peak_shift"]["value"],
        "peak_height_ratio": radial["peak_height_ratio"]["value"],
        "closest_nm": closest["value"],
        "temperature_k": system["kinetic_temperature"]["value"],
        "pressure_bar": system["pressure"]["value"],
    }


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows computed so far."""
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def write_rows(rows: list[dict[str, Any]], path: Path) -> None:
    """Write all rows, numbers with six digits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for row in rows:
            writer.writerow({key: f"{value:.6g}" if isinstance(value, float) else value for key, value in row.items()})


def format_table(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Return the lines of a Markdown table."""
    yield "| network | seed | parameters | training [s] | epochs | explained, held out | mean &#124;Δg&#124; | by chance | mean &#124;ΔADF&#124; | first peak | stopped | steps/s | ns/day |"  # noqa: E501
    yield "|---" * 13 + "|"
    for row in rows:
        if not row["rdf_difference"]:
            yield f"| {row['network']} | {row['seed']} | {row['parameters']} | simulation stopped |" + " |" * 9
            continue
        cells = (
            row["network"],
            row["seed"],
            row["parameters"],
            f"{float(row['training_s']):.0f}",
            row["epochs"],
            f"{float(row['explained']):.4f} ± {float(row['explained_error']):.4f}",
            f"{float(row['rdf_difference']):.4f}",
            f"{float(row['rdf_by_chance']):.4f}",
            f"{float(row['adf_difference']):.4f}",
            f"{1000.0 * float(row['peak_shift_nm']):+.1f} pm, {100.0 * (float(row['peak_height_ratio']) - 1.0):+.1f} %",
            row["stopped_replicas"],
            f"{float(row['steps_per_second']):.0f}",
            f"{float(row['ns_per_day']):.0f}",
        )
        yield "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
