"""Chignolin in figures: a run of ``examples/chignolin.yaml``, its speed, and what it would take to converge.

    beadsmith run examples/chignolin.yaml
    python -m benchmarks.accuracy.chignolin [--run runs/chignolin] [--parts run speed convergence]

Each part becomes a section of ``chignolin.json``; the part ``hairpin`` is written by ``chignolin_hairpin``. The part
``convergence`` counts the folding and unfolding events of every replica of the reference and measures how fast each
replica forgets its shape, then adds what is published: a two-state molecule with mean folding time t and folded
population p relaxes in p t, and its population is known to s after p t · 2 p (1 − p) / s² of sampling.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import beadsmith
from beadsmith.analysis.definitions import NativeSettings
from beadsmith.analysis.molecule_plan import plan_molecules
from beadsmith.analysis.molecule_series import read_structures
from beadsmith.io.h5md import open_trajectory
from beadsmith.io.records import read_json, write_json
from beadsmith.simulation.settings import SimulationSettings
from beadsmith.statistics import statistical_inefficiency
from beadsmith.trajectory import Trajectory

HERE = Path(__file__).parent
FIGURES = HERE / "chignolin.json"
SHAPES = ("native contacts", "RMSD", "radius of gyration", "end to end")
FOLDED, UNFOLDED = 0.8, 0.4
"""Fractions of native contacts beyond which a replica is folded, or unfolded; between them it stays what it was."""

FOLDING_TIME = 600.0
"""Mean folding time of the variant CLN025 at 340 K in explicit water [ns]: K. Lindorff-Larsen et al., Science 334, 517
(2011), doi:10.1126/science.1208351."""

TARGET, POPULATION = 0.05, 0.5
"""Standard error of the folded population that is asked for, and the population for which it is hardest to reach."""

N_RUNS, RUN_LENGTH, SAVE_INTERVAL = 5, 2.0, 0.2


def main() -> None:
    """Compute the parts that are asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy.chignolin", description=__doc__)
    parser.add_argument(
        "--run", type=Path, default=Path("runs/chignolin"), help="run folder of examples/chignolin.yaml"
    )
    parser.add_argument("--parts", nargs="+", default=["run", "speed", "convergence"], help="sections to write")
    parser.add_argument("--replicas", type=int, nargs="+", default=[32, 100], help="batches whose speed is measured")
    parser.add_argument("--figures", type=Path, default=FIGURES, help="JSON file")
    options = parser.parse_args()
    for part in options.parts:
        if part == "run":
            figures = describe_run(options.run)
        elif part == "speed":
            figures = measure_speed(options.run, options.replicas)
        else:
            figures = estimate_convergence(options.run)
        write_json(
            options.figures, {**(read_json(options.figures) if options.figures.is_file() else {}), part: figures}
        )
        print(part, json.dumps(figures, indent=1), flush=True)


def describe_run(run: Path) -> dict[str, Any]:
    """Return what the run folder holds: sizes, losses, and the distance of the simulation from the reference."""
    stages = read_json(run / "record.json")["stages"]
    sampled, mapped, simulated = (stages[name]["summary"] for name in ("sample", "map", "simulate"))
    evaluation, training = read_json(run / "evaluation.json"), read_json(run / "training.json")
    (kind,) = evaluation["systems"]["reference"]["molecules"]
    reference = evaluation["systems"]["reference"]["molecules"][kind]
    systems = {name: system["molecules"][kind] for name, system in evaluation["systems"].items()}
    compared = {name: entry["molecules"][kind] for name, entry in evaluation["comparisons"].items()}
    network = compared["network"]
    checks = read_json(run / "checks.json")["checks"]
    return {
        "sampled_ns": sampled["n_replicas"] * sampled["settings"]["duration"] / 1000.0,
        "n_replicas": sampled["n_replicas"],
        "n_atoms": sampled["n_atoms"],
        "n_frames": reference["n_frames"],
        "platform": sampled["platform"],
        "ns_per_day": sampled["ns_per_day"],
        "force_mean_square": mapped["force_mean_square"],
        "losses": {name: entry["test"]["value"] for name, entry in training["losses"].items()},
        "simulated_replicas": simulated["n_replicas"],
        "stopped_replicas": len(simulated["stopped"]),
        "simulated_steps_per_second": simulated["speed"]["steps_per_second"],
        "kinetic_temperature": simulated["kinetic_temperature"],
        "shapes": {name: _describe_curve(name, "coordinates", systems, compared) for name in SHAPES},
        "bonded": {name: _describe_curve(name, "bonded", systems, compared) for name in network["bonded"]},
        "surfaces": {
            label: {bins: _describe_divergence(entry["jensen_shannon"]) for bins, entry in surface.items()}
            for label, surface in network["surfaces"].items()
        },
        "basins": {
            name: {system: entry["basins"][name]["value"] for system, entry in systems.items()}
            for name in reference["basins"]
        },
        "slow_times": reference["slow_modes"]["implied_timescales"],
        "checks": {check["name"]: check["status"] for check in checks},
    }


def _describe_curve(name: str, key: str, systems: dict[str, Any], compared: dict[str, Any]) -> dict[str, Any]:
    """Return means and divergences of one coordinate."""
    means = {system: entry[key][name].get("mean") for system, entry in systems.items()}
    return {
        "mean": {system: None if mean is None else _describe_value(mean) for system, mean in means.items()},
        "jensen_shannon": {
            system: _describe_divergence(entry[key][name]["jensen_shannon"]) for system, entry in compared.items()
        },
    }


def _describe_value(measurement: dict[str, Any]) -> dict[str, float]:
    return {"value": measurement["value"], "error": measurement["standard_error"]}


def _describe_divergence(divergence: dict[str, Any]) -> dict[str, Any]:
    """Return a divergence with its error, what chance makes, and the halves of both runs [nat]."""
    return {
        **_describe_value(divergence),
        "by_chance": divergence["expected_by_chance"]["value"],
        "halves": {which: entry["value"] for which, entry in divergence["halves"].items()},
    }


def measure_speed(run: Path, sizes: list[int]) -> dict[str, Any]:
    """Return replica-steps per second of the trained force field on one thread, and frames per second of the mapping.

    Of several runs the fastest counts, since others may use the machine; saving is part of a run.
    """
    settings = beadsmith.load_config(run / "run.yaml")
    rates = {}
    for n_replicas in sizes:
        found = []
        with tempfile.TemporaryDirectory() as folder:
            # the first run compiles
            for attempt in range(N_RUNS + 1):
                summary = beadsmith.simulate(
                    beadsmith.load_force_field(run / "force_field"),
                    beadsmith.read_trajectory(run / "mapped.h5").select(np.arange(n_replicas)),
                    SimulationSettings(
                        timestep=settings.simulation.timestep, friction=settings.simulation.friction,
                        equilibration=0.0, duration=RUN_LENGTH, save_interval=SAVE_INTERVAL,
                        replicas=n_replicas, threads=1,
                    ),
                    Path(folder) / f"{attempt}.h5",
                    temperature=settings.state.temperature, seed=1, identity=str(attempt),
                )  # fmt: skip
                found.append(summary["speed"]["steps_per_second"])
        rates[str(n_replicas)] = {
            "steps_per_second": max(found[1:]),
            "replica_steps_per_second": n_replicas * max(found[1:]),
        }
    stages = read_json(run / "record.json")["stages"]
    n_frames = read_json(run / "evaluation.json")["systems"]["reference"]["n_frames"]
    return {
        "simulation": rates,
        "timestep_fs": 1000.0 * settings.simulation.timestep,
        "mapping_frames_per_second": n_frames / stages["map"]["wall_time"],
    }


def estimate_convergence(run: Path) -> dict[str, Any]:
    """Return events and correlation times of every replica of the reference, and the sampling that would be needed."""
    settings = beadsmith.load_config(run / "run.yaml")
    frames = beadsmith.read_trajectory(run / "mapped.h5")
    series = _measure_shapes(run / "mapped.h5", frames, settings.evaluation.molecules.native)
    interval = settings.sampling.save_interval
    replicas = []
    for number in np.unique(frames.segment):
        own = {name: values[frames.segment == number] for name, values in series.items()}
        states = follow_states(own["native contacts"])
        replicas.append({
            "first_native_contacts": float(own["native contacts"][0]),
            "mean": {name: float(values.mean()) for name, values in own.items()},
            "folded_share": float((states > 0).mean()),
            "events": int(np.count_nonzero(np.diff(states[states != 0]))),
            "last_state": int(states[-1]),
            # a lower bound: a replica that stays in one state knows nothing of the other
            "correlation_time_ps": {
                name: 0.5 * interval * statistical_inefficiency(values) for name, values in own.items()
            },
        })  # fmt: skip
    sampled = read_json(run / "record.json")["stages"]["sample"]["summary"]
    relaxation = POPULATION * FOLDING_TIME
    needed = relaxation * 2.0 * POPULATION * (1.0 - POPULATION) / TARGET**2
    starts = [replica["first_native_contacts"] >= FOLDED for replica in replicas]
    return {
        "thresholds": {"folded": FOLDED, "unfolded": UNFOLDED},
        "replicas": replicas,
        "started_folded": sum(starts),
        "ended_in_the_other_state": sum(
            replica["last_state"] == (-1 if start else 1) for replica, start in zip(replicas, starts, strict=True)
        ),
        "short_visits_and_back": sum(replica["events"] for replica in replicas),
        "sampled_ns": len(replicas) * settings.sampling.duration / 1000.0,
        "published_folding_time_ns": FOLDING_TIME,
        "assumed_population": POPULATION,
        "target_error": TARGET,
        "needed_ns": needed,
        "folding_events_in_it": needed * (1.0 - POPULATION) / FOLDING_TIME,
        "days_at_the_speed_of_the_run": needed / sampled["ns_per_day"],
    }


def _measure_shapes(path: Path, frames: Trajectory, native: NativeSettings | None) -> dict[str, np.ndarray]:
    """Return the coordinates of `SHAPES` in every frame."""
    assert native is not None
    settings = beadsmith.load_config(path.parent / "run.yaml").evaluation.molecules
    with open_trajectory(path) as stored:
        plans = plan_molecules(frames.topology, settings, read_structures(stored, native.frame))
    (plan,) = plans.values()
    series = {}
    for name in SHAPES:
        compute = plan.by_name[name].compute
        assert compute is not None
        series[name] = compute(frames.positions)[:, 0]
    return series


def follow_states(contacts: np.ndarray) -> np.ndarray:
    """Return +1 (folded), −1 (unfolded) or, before either threshold was passed, 0 for every frame.

    A state is left when the threshold of the other is passed, so recrossings of one threshold count for nothing.
    """
    marks = np.where(contacts >= FOLDED, 1, np.where(contacts <= UNFOLDED, -1, 0))
    last = np.maximum.accumulate(np.where(marks != 0, np.arange(len(marks)), -1))
    return np.where(last >= 0, marks[np.maximum(last, 0)], 0)


if __name__ == "__main__":
    main()
