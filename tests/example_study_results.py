"""What a study leaves in ``study.json``, synthetic: two mappings with two networks, or two trainings at two states."""

import numpy as np


def make_results(kind="mapping"):
    """Return the results of a finished study; one run of it has blown up."""
    if kind == "mapping":
        axes = {"mapping": ["two_site", "three_site"], "network": ["spline", "mace"]}
        options = [{"mapping": a, "network": b} for a in axes["mapping"] for b in axes["network"]]
        names = ["-".join(entry.values()) for entry in options]
    else:
        axes = {"network": ["spline", "blind"], "train": ["300K", "joint"], "test": ["300K", "400K"]}
        options = [
            {"network": a, "train": b, "test": c} for a in axes["network"] for b in axes["train"] for c in axes["test"]
        ]
        names = [f"{entry['network']}-{entry['train']}-at-{entry['test']}" for entry in options]
    runs = {
        name: make_run(name, entry, number) for number, (name, entry) in enumerate(zip(names, options, strict=True))
    }
    lost = names[-1]
    runs[lost] |= {"status": "failed", "error": "all 4 replicas stopped", "verdict": None, "stability": None}
    runs[lost] |= {"errors": {}, "curves": {}, "checks": []}
    runs[lost]["stopped"] = {"n_replicas": 4, "n_stopped": 4, "first_reason": "a bead moved 1 nm"}
    return {
        "format_version": 1,
        "name": f"synthetic {kind}",
        "kind": kind,
        "axes": axes,
        "stability": {"temperature_ratio": 2.0, "bond_tolerance": "0.05 nm"},
        "jobs": {
            "n_jobs": 12,
            "n_done": 10,
            "failed": [{"job": f"simulate-{lost}", "status": "failed", "error": "all 4 replicas stopped"}],
            "wall_time": {"value": 3600.0, "unit": "s"},
        },
        "runs": runs,
    }


def make_run(name, options, number):
    """Return the entry of one run."""
    return {
        "options": options,
        "folder": f"runs/{name}",
        "status": "done",
        "error": "",
        "state": {"temperature": "300 K"},
        "training": {
            "explained_variance": {"value": 0.2 + 0.01 * number, "error": 0.004},
            "n_frames": {"train": 350},
            "n_parameters": 1000 * number or None,
            "epochs": 10,
            "seconds": 60.0,
            "sites_per_second": 1e5,
        },
        "speed": {"steps_per_second": 80.0, "ns_per_day": 40.0, "ns_per_day_all_replicas": 160.0},
        "stopped": {"n_replicas": 4, "n_stopped": number % 2, "first_reason": ""},
        "diagnosis": [
            make_check("bond permutation", "pass", 0.02) | {"map_alone": "fail", "cures": ["prior.bonds: harmonic"]}
        ]
        if number < 2
        else None,
        "errors": {
            "rdf": make_error("mean |Δg(r)|", "1", 0.01 * (number + 1), 0.005),
            "bonded": make_error("JS of bonds, angles, dihedrals", "nat", 0.002, None),
        },
        "checks": [make_check("radial distribution", "fail" if number == 1 else "pass", 0.02)],
        "verdict": "fail" if number == 1 else "pass",
        "stability": {
            "n_replicas": 4,
            "n_survived": 4 - number % 2,
            "n_by_reason": {"stopped": number % 2, "hot": 0, "bond broken": 0},
            "length": {"value": 100.0, "unit": "ps"},
            "stable_time": {"values": [100.0, 100.0, 100.0, 100.0 - 60.0 * (number % 2)], "unit": "ps"},
        },
        "curves": {"rdf A-A": make_curve("rdf", number), "bond A-B": make_curve("bond", number)},
    }


def make_error(title, unit, value, own):
    """Return one error, with the reference's own beside it."""
    ratio = value / own if own else None
    entry = {"title": title, "unit": unit, "value": value, "standard_error": 0.001, "reference_error": own}
    return entry | {"n_kinds": 1, "ratio": ratio}


def make_check(name, status, value):
    """Return one check."""
    words = {"threshold": "<= 0.01", "meaning": "What it means.", "remedy": "What to do."}
    return {"name": name, "status": status, "value": value, "unit": "1", **words}


def make_curve(group, number):
    """Return a curve with its reference; the last bin was never seen."""
    edges = np.linspace(0.2, 1.0, 21)
    density = 1.0 + np.sin(10.0 * edges[:-1])
    mean = [*(density[:-1] + 0.02 * number).tolist(), None]
    return {
        "group": group,
        "unit": "nm",
        "edges": edges.tolist(),
        "reference": density.tolist(),
        "reference_error": [0.01] * 20,
        "n_replicas": 4,
        "mean": mean,
        "deviation": [0.02] * 20,
        "mean_square_difference": 4e-4 * number**2,
    }
