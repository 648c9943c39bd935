"""What a diagnosis foretells, trained and simulated: bonds that switch, and hands that are lost and found again.

    beadsmith sample examples/hexane/hexane.yaml
    beadsmith sample examples/peptides/capped_alanine.yaml
    python -m benchmarks.accuracy.mapping_proofs [--references runs] [--rows "core, O(3)" ...]

Every row is a run of the example with the settings below, in a folder of its own that takes the reference over; rows
that ``mapping_proofs.json`` has already are not computed again. Networks and trainings are as small as the proof
allows. Hexane: two beads of one type, without and with bonds in the prior; the share of bonds that were ever switched,
from the first step on. Alanine: five beads whose prior has cosines alone under a network of distances, then one remedy
at a time.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

import beadsmith
from beadsmith.diagnostics.energies import TOTAL, build_probe
from beadsmith.io.h5md import open_trajectory
from beadsmith.io.records import read_json, write_json

HERE = Path(__file__).parent
EXAMPLES = HERE.parents[1] / "examples"
OUTPUT = HERE / "mapping_proofs.json"

VERBS = ("map", "diagnose", "train", "simulate", "evaluate")
WITHIN = 20.0
"""Time in which bonds without a prior are expected to switch [ps]."""

N_PROBED = 100
PROBES = ("path", "barrier")

_HEXANE = (
    "baseline=false",
    "network.n_features=12",
    "training.epochs=3",
    "training.noise_floor_fractions=[]",
    "simulation.equilibration=0 ps",
    "simulation.duration=40 ps",
    "simulation.save_interval=0.1 ps",
    "simulation.all_stopped=keep",
)
_ALANINE = (
    "baseline=false",
    "training.epochs=4",
    "simulation.duration=200 ps",
    "evaluation.discard=80 ps",
)
_NO_SINES = ("prior.dihedrals=cosine", "prior.impropers=cosine")
_BARRIER = "evaluation.inversion_barrier={}"
_SHALLOW = "n_features: 16, l_max_hidden: 1, correlation: 3, n_layers: 2"
_DEEP = "n_features: 8, l_max_hidden: 2, correlation: 2, n_layers: 3"


def _use_mace(shape: str) -> tuple[str, ...]:
    return (
        f"network={{kind: mace, symmetry: SO(3), {shape}, l_max: 2, cutoff: 0.5 nm, average_neighbors: 4, "
        "radial_widths: [32, 32]}",
        "training.batch_size=128",
        "training.epochs=12",
        "simulation.replicas=50",
    )


ROWS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "two-site, no bonds in the prior": ("hexane", "two_site", (*_HEXANE, "prior.bonds=none", "prior.angles=none")),
    "two-site, harmonic bonds": ("hexane", "two_site", _HEXANE),
    "core, O(3)": ("capped_alanine", "core", (*_ALANINE, *_NO_SINES)),
    "core, O(3), sines": ("capped_alanine", "core", _ALANINE),
    "core, SO(3), vectors, two layers": (
        "capped_alanine",
        "core",
        (*_ALANINE, *_NO_SINES, *_use_mace(_SHALLOW)),
    ),
    "core, SO(3), tensors, three layers": (
        "capped_alanine",
        "core",
        (*_ALANINE, *_NO_SINES, *_use_mace(_DEEP)),
    ),
    "core beta map 2, O(3)": ("capped_alanine", "core_beta_map2", (*_ALANINE, *_NO_SINES, _BARRIER)),
    "core beta map 2, O(3), signed improper": ("capped_alanine", "core_beta_map2", (*_ALANINE, _NO_SINES[0], _BARRIER)),
}
"""By row: reference, map, and what replaces settings of the example."""


def main() -> None:
    """Compute the rows that are missing, one after the other."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy.mapping_proofs", description=__doc__)
    parser.add_argument("--references", type=Path, default=Path("runs"), help="folder of the sampled run folders")
    parser.add_argument("--scratch", type=Path, default=Path("runs/mapping_proofs"), help="folder of the runs")
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=list(ROWS), help="only these rows")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="file of the rows")
    options = parser.parse_args()
    for name in options.rows:
        rows = read_json(options.output) if options.output.is_file() else {}
        if name not in rows:
            folder = options.scratch / name.translate(str.maketrans({" ": "_", ",": None, "(": None, ")": None}))
            rows[name] = measure(name, options.references, folder)
            write_json(options.output, rows)
        print(name, rows[name], flush=True)


def measure(name: str, references: Path, folder: Path) -> dict[str, Any]:
    """Train, simulate and evaluate one row, and return its figures."""
    reference, map_name, overrides = ROWS[name]
    place = EXAMPLES / ("hexane" if reference == "hexane" else "peptides")
    files = f"mapping.files=[{place / 'maps' / f'{map_name}.yaml'}]"
    result = beadsmith.run(
        place / f"{reference}.yaml",
        (files, *overrides),
        output=folder,
        verbs=VERBS,
        reuse=[references / reference],
    )
    stages = result.record.stages
    evaluation, training = read_json(folder / "evaluation.json"), read_json(folder / "training.json")
    simulated = stages["simulate"].summary
    row: dict[str, Any] = {
        "map": map_name,
        "settings": list(overrides),
        "diagnosis": read_json(folder / "diagnosis.json")["summary"],
        "losses": {model: entry["test"]["value"] for model, entry in training["losses"].items()},
        "simulated_replicas": simulated["n_replicas"],
        "stopped_replicas": len(simulated["stopped"]),
        "steps_per_second": simulated["speed"]["steps_per_second"],
        "seconds": {verb: round(stages[verb].wall_time) for verb in ("train", "simulate", "evaluate")},
        "checks": {check.name: check.status for check in result.checks},
    }
    return row | (describe_bonds(evaluation) if reference == "hexane" else describe_hand(evaluation, folder))


def describe_bonds(evaluation: dict[str, Any]) -> dict[str, Any]:
    """Return how many bonds have switched, at the end and within the first picoseconds, here and in the reference."""
    found = {}
    for which in ("network", "reference"):
        bonds = evaluation["systems"][which]["bond_identity"]
        curve = bonds["curve"]
        early = int(np.searchsorted(curve["time"], WITHIN, side="right")) - 1
        found[which] = {
            "n_bonds": bonds["n_bonds"],
            "length": bonds["length"]["value"],
            "first_switch": bonds["first_switch"]["value"],
            "switched": bonds["switched"]["value"],
            "switched_early": curve["switched"][early],
            "nearest_neighbour_changed": bonds["changed"]["value"],
        }
    return {"bonds": found}


def describe_hand(evaluation: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return the share of phi > 0, asymmetries, distance from the reference, barriers, and energies of D-alanine."""
    ((kind, comparison),) = evaluation["comparisons"]["network"]["molecules"].items()
    systems = {which: evaluation["systems"][which]["molecules"][kind] for which in ("network", "reference")}
    (label,) = comparison["surfaces"]
    surface = comparison["surfaces"][label]["36"]
    return {
        "phi_positive": {which: _value(entry["coordinates"]["phi"]["positive"]) for which, entry in systems.items()},
        "asymmetry": {which: entry["surfaces"][label]["asymmetry"]["value"] for which, entry in systems.items()},
        "jensen_shannon": _value(surface["jensen_shannon"]),
        "jensen_shannon_by_chance": surface["jensen_shannon"]["expected_by_chance"]["value"],
        "stereocentre_flips": {
            centre: entry["n_flips"] for centre, entry in systems["network"]["stereocentres"].items()
        },
        "inversion": {
            probe: _drop_profiles(evaluation["probes"][f"inversion_{probe}"].get(kind, {})) for probe in PROBES
        },
        "mirror_image": compare_hands(folder),
    }


def compare_hands(folder: Path) -> dict[str, float]:
    """Return how the energies of L-alanine and of its reflection, D-alanine, differ in float64.

    The mirror is the plane x = 0 (the parity probe inverts all positions). Relative to the mean energy [1], and the
    root mean square [kJ/mol].
    """
    with open_trajectory(folder / "mapped.h5") as stored:
        chosen = np.linspace(0, stored.n_frames - 1, N_PROBED).astype(np.int64)
        frames = stored.read(chosen)
    probe = build_probe(beadsmith.load_force_field(folder / "force_field"), frames)
    positions = frames.positions.astype(np.float64)
    here, there = (
        probe.compute_energies(image, np.arange(N_PROBED)).parts[TOTAL]
        for image in (positions, positions * np.array([-1.0, 1.0, 1.0]))
    )
    difference = np.abs(here - there)
    return {
        "relative": float(difference.max() / np.abs(here).mean()),
        "difference": float(np.sqrt(np.mean(difference**2))),
    }


def _drop_profiles(centres: dict[str, Any]) -> dict[str, Any]:
    return {
        centre: {key: value for key, value in entry.items() if key != "profile"} for centre, entry in centres.items()
    }


def _value(entry: dict[str, Any]) -> dict[str, float]:
    return {"value": entry["value"], "error": entry["standard_error"]}


if __name__ == "__main__":
    main()
