"""A whole run folder made of synthetic data: every file that the report reads, small and quick to write."""

from pathlib import Path

import numpy as np
import torch

from beadsmith.analysis.evaluate import EvaluationSettings, evaluate
from beadsmith.diagnostics.data import check_reference
from beadsmith.diagnostics.dynamics import check_simulation
from beadsmith.force_field import ForceField, ForceFieldRecord, save_force_field
from beadsmith.io.h5md import write_trajectory
from beadsmith.io.records import read_json, write_json
from beadsmith.networks.hipnn import HipnnSettings
from beadsmith.networks.kinds import build_network
from beadsmith.priors.repulsion import ExponentialRepulsion
from beadsmith.priors.splines import PairSpline
from beadsmith.topology import build_bead_topology
from beadsmith.trajectory import StatePoint
from example_trajectories import make_liquid

USES = ("train", "validation", "test")


def write_run(folder: Path, *, types=None, type_names=("bead",)) -> Path:
    """Write a finished run of a network and a pair spline into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    options = {"types": types, "type_names": type_names, "n_frames": 80}
    for name, amplitude in (("mapped", 0.05), ("simulation", 0.052), ("pair_spline", 0.06)):
        trajectory = make_liquid(generator, amplitude=amplitude, **options)
        metadata = make_mapping(type_names) if name == "mapped" else {}
        write_trajectory(folder / f"{name}.h5", trajectory, metadata)
    write_trajectory(folder / "reference.h5", trajectory, {"ns_per_day": 60.0, "engine": "OpenMM", "n_atoms": 384})
    write_force_fields(folder, type_names)
    write_json(folder / "training.json", make_training(type_names))
    write_log(folder / "training.csv")
    simulations = {"network": folder / "simulation.h5", "pair_spline": folder / "pair_spline.h5"}
    evaluation = evaluate(folder / "mapped.h5", simulations, EvaluationSettings(diffusion_start=0.4, window_end=0.9))
    write_json(folder / "evaluation.json", evaluation)
    checks = [*check_reference(evaluation), *check_simulation(evaluation)]
    write_json(folder / "checks.json", {"checks": [check.to_json() for check in checks]})
    write_json(folder / "record.json", make_record())
    return folder


def make_mapping(type_names):
    """Return the summary that the mapping stores."""
    return {
        "beads": "center_of_mass",
        "forces": "optimal",
        "molecules": [
            {
                "name": name,
                "count": 64 // len(type_names),
                "bead_names": [name],
                "bead_masses": [32.042],
                "atom_names": ["CT", "OH", "HO"],
                "force_weights": [[1.0, 0.8, 0.8]],
            }
            for name in type_names
        ],
        "force_mean_square": {"sum": 37600.0, "optimal": 36100.0},
        "noise_removed": {"mean_square": 1500.0, "standard_error": 90.0, "fraction_lower_bound": 0.04},
    }


def write_force_fields(folder, type_names):
    """Write a network with random weights and a pair spline with zero coefficients."""
    record = ForceFieldRecord(
        templates=tuple(
            build_bead_topology(type_names=type_names, types=np.array([index]), masses=np.full(len(type_names), 32.0))
            for index in range(len(type_names))
        ),
        state_points=(StatePoint(temperature=300.0),),
        shortest_distances={f"{a}-{b}": 0.28 for k, a in enumerate(type_names) for b in type_names[k:]},
    )
    n_pairs = len(record.shortest_distances)
    repulsion = ExponentialRepulsion(
        type_names,
        joining_distances=(0.3,) * n_pairs,
        joining_forces=(400.0,) * n_pairs,
        decays=(50.0,) * n_pairs,
        cutoff=0.5,
    )
    spline = PairSpline(type_names, inner_distances=(0.3,) * n_pairs, cutoff=0.9, n_intervals=8)
    settings = HipnnSettings(n_features=4, n_sensitivities=6, cutoff=0.8, soft_max=0.7)
    network = build_network(settings, type_names, torch.Generator().manual_seed(0))
    save_force_field(ForceField([repulsion], network, record), folder / "force_field")
    save_force_field(ForceField([repulsion, spline], None, record), folder / "pair_spline")


def make_training(type_names):
    """Return the summary of a training."""
    losses = {"zero_force": 37600.0, "prior": 37000.0, "pair_spline": 30860.0, "network": 28600.0}
    r = np.linspace(0.25, 0.9, 60)
    force = 300.0 * np.exp(-(r - 0.3) / 0.03) - 20.0
    pairs = [f"{a}-{b}" for k, a in enumerate(type_names) for b in type_names[k:]]
    return {
        "n_frames": dict(zip(USES, (350, 50, 100), strict=True)),
        "unit": "(kJ/mol/nm)^2",
        "losses": {name: {use: {"value": value, "error": 150.0} for use in USES} for name, value in losses.items()},
        "explained_variance": {
            name: {use: {"value": 1.0 - value / 37600.0, "error": 0.004} for use in USES}
            for name, value in losses.items()
            if name != "zero_force"
        },
        "improvement": {
            "unit": "(kJ/mol/nm)^2",
            "value": 2260.0,
            "error": 100.0,
            "n_standard_errors": 22.6,
            "fraction": 0.073,
            "n_blocks": 5,
        },
        "gap": {"value": 0.004, "error": 0.005},
        "network": {
            "epochs": 20,
            "n_parameters": 2345,
            "sites_per_second": 15000.0,
            "seconds": 200.0,
        },
        "noise_floor": {
            "points": [
                {
                    "n_frames": n,
                    "epochs": 8,
                    "train": {"value": 0.75 - 1.5 / n, "error": 0.003},
                    "held_out": {"value": 0.758 + 3.0 / n, "error": 0.004},
                }
                for n in (88, 175, 350)
            ],
            "upper_bound": {"value": 0.758, "error": 0.004, "slope": 3.0, "loss": 28500.0, "loss_error": 150.0},
            "lower_bound": {"value": 0.75, "error": 0.003, "slope": -1.5, "loss": 28200.0, "loss_error": 120.0},
            "estimate": {"value": 0.754, "error": 0.005, "loss": 28350.0, "loss_error": 180.0, "crossing": -1.6},
        },
        "prior": {
            "curves": [
                {
                    "type_pair": pair,
                    "r": r.tolist(),
                    "mean_force": np.where(r > 0.29, force, np.nan).tolist(),
                    "mean_force_error": np.where(r > 0.29, 5.0, np.nan).tolist(),
                }
                for pair in pairs
            ]
        },
    }


def write_log(path):
    """Write the loss of twenty epochs."""
    lines = ["epoch,step,train_loss,validation_loss,learning_rate,seconds"]
    for epoch in range(1, 21):
        loss = 28500.0 + 6000.0 * np.exp(-epoch / 3.0)
        lines.append(f"{epoch},{350 * epoch},{loss:.1f},{loss + 150.0:.1f},0.002,{10.0 * epoch}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def make_record():
    """Return the record of a finished run."""

    def stage(output, **summary):
        return {
            "status": "done",
            "input_hash": "0" * 64,
            "outputs": {output: "ab" * 32},
            "wall_time": 200.0,
            "versions": {"beadsmith": "0.1.0", "torch": "2.13.0"},
            "summary": summary,
        }

    def simulated(rate):
        speed = {"steps_per_second": rate, "ns_per_day": 0.86 * rate, "ns_per_day_all_replicas": 1.7 * rate}
        return {"speed": speed, "n_replicas": 2, "n_beads": 64}

    return {
        "format_version": 1,
        "name": "synthetic",
        "seed": 7,
        "created": "2026-01-01T00:00:00+00:00",
        "command": "beadsmith run synthetic.yaml",
        "configuration": {"system": {"molecules": [{"name": "bead", "count": 64}]}, "state": {"temperature": "300 K"}},
        "machine": {"python": "3.11", "system": "Linux"},
        "stages": {
            "sample": stage("reference.h5"),
            "map": stage("mapped.h5", frames_per_second=900.0),
            "train": stage("training.json"),
            "simulate": stage("simulation.h5", **simulated(85.0)),
            "simulate_pair_spline": stage("pair_spline.h5", **simulated(650.0)),
        },
    }


if __name__ == "__main__":
    import sys

    from beadsmith.report.build import build_report

    write_run(Path(sys.argv[1]))
    build_report(Path(sys.argv[1]))
    print(len(read_json(Path(sys.argv[1]) / "checks.json")["checks"]), "checks")
