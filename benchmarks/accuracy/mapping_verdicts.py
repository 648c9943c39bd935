"""Verdicts of ``beadsmith diagnose`` on maps of hexane and capped amino acids, beside those that are expected.

    beadsmith sample examples/hexane/hexane.yaml
    beadsmith sample examples/peptides/capped_alanine.yaml      and glycine, proline, threonine
    python -m benchmarks.accuracy.mapping_verdicts [--references runs] [--only capped_alanine]

Every map of the examples that a reference fits is applied and diagnosed in a run folder of its own, which takes the
reference over; rows that ``mapping_verdicts.json`` has already are not computed again. What is expected follows
F. Görlich and J. Zavadlav, J. Chem. Inf. Model. (2026), doi 10.1021/acs.jcim.5c03035; None is reported only. The time
is that of `diagnose` alone, on one thread, its file read and its JSON written.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import beadsmith
from beadsmith.check import Status
from beadsmith.diagnostics.mapping.knowledge import ModelSettings
from beadsmith.diagnostics.mapping.run import diagnose
from beadsmith.io.records import read_json, write_json

HERE = Path(__file__).parent
EXAMPLES = HERE.parents[1] / "examples"
OUTPUT = HERE / "mapping_verdicts.json"

_PEPTIDE_MAPS = ("core", "core_map2", "core_beta", "core_beta_map2")

EXPECTED: dict[str, dict[str, tuple[str, Status] | None]] = {
    "hexane": {
        "two_site": ("bond overlap", "fail"),
        "two_site_map2": ("bond overlap", "fail"),
        "three_site": None,
        "four_site": ("bond overlap", "pass"),
        "six_site": None,
        "a3": None,
        "a4": None,
    },
    "capped_alanine": {
        "core": ("hand of the molecules", "fail"),
        "core_single": ("hand of the molecules", "fail"),
        "core_map2": ("hand of the molecules", "fail"),
        "core_beta": ("bead labels", "warn"),
        "core_beta_map2": ("all", "pass"),
        "core_beta_map3": None,
        "core_beta_map4": None,
        "core_beta_map5": None,
        "core_beta_single": None,
        "united_atom": None,
        "heavy_only": None,
        "heavy_only_map2": None,
        "atomistic": None,
    },
    "capped_glycine": {"core": ("all", "pass"), **dict.fromkeys(_PEPTIDE_MAPS[1:])},
    "capped_proline": dict.fromkeys(_PEPTIDE_MAPS),
    "capped_threonine": dict.fromkeys(_PEPTIDE_MAPS),
}
"""By reference and map, the check of the map alone that is expected to say what; ``all`` is the worst of all checks."""


def main() -> None:
    """Judge every map that has no row yet."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy.mapping_verdicts", description=__doc__)
    parser.add_argument("--references", type=Path, default=Path("runs"), help="folder of the sampled run folders")
    parser.add_argument("--scratch", type=Path, default=Path("runs/mapping_verdicts"), help="folder of mapped runs")
    parser.add_argument("--only", nargs="+", default=list(EXPECTED), choices=list(EXPECTED), help="these references")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="file of the rows")
    options = parser.parse_args()
    for reference in options.only:
        for name, expected in EXPECTED[reference].items():
            rows = read_json(options.output) if options.output.is_file() else {}
            label = f"{reference}, {name}"
            if label not in rows:
                folder = map_reference(options.references / reference, name, options.scratch / f"{reference}_{name}")
                rows[label] = judge(folder, expected)
                write_json(options.output, rows)
            print(format_row(label, rows[label]), flush=True)


def map_reference(reference: Path, name: str, folder: Path) -> Path:
    """Return a run folder with the mapped reference."""
    place = EXAMPLES / ("hexane" if reference.name == "hexane" else "peptides")
    beadsmith.run(
        place / f"{reference.name}.yaml",
        (f"mapping.files=[{place / 'maps' / f'{name}.yaml'}]",),
        output=folder,
        verbs=("map",),
        reuse=[reference],
    )
    return folder


def judge(folder: Path, expected: tuple[str, Status] | None) -> dict[str, Any]:
    """Return the verdicts on a map, and the time they took [s]."""
    settings = beadsmith.load_config(folder / "run.yaml")
    mapped = folder / "mapped.h5"
    # the first call compiles
    diagnose(mapped, ModelSettings())
    wall, cpu = time.perf_counter(), time.process_time()
    found = diagnose(
        mapped, ModelSettings(network=settings.network, prior=settings.prior), output=folder / "verdict.json"
    )
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    checks = {
        check["name"]: {
            "map_alone": check["map_alone"], "with_model": check["status"], "value": check["value"],
            "unit": check["unit"], "cures": check["cures"],
        }
        for check in found["checks"]
    }  # fmt: skip
    row = {
        "map_alone": found["summary"]["map_alone"],
        "with_model": found["summary"]["with_model"],
        "n_frames": found["n_frames"],
        "n_used": found["n_used"],
        "n_molecules": sum(molecule["count"] for molecule in found["molecules"]),
        "n_beads": [len(molecule["beads"]) for molecule in found["molecules"]],
        "checks": checks,
        "hand": [_describe_hand(entry) for molecule in found["molecules"] for entry in molecule["asymmetries"][:1]],
        "wall_time": round(wall, 2),
        "processor_time": round(cpu, 2),
        "expected": None,
    }
    if expected is not None:
        name, status = expected
        is_met = (row["map_alone"] if name == "all" else checks[name]["map_alone"]) == status
        row["expected"] = {"check": name, "status": status, "is_met": is_met}
    return row


def _describe_hand(asymmetry: dict[str, Any]) -> dict[str, Any]:
    """Return the divergence of a distribution from its reflection, its error and what chance makes [nat]."""
    divergence = asymmetry["divergence"]
    return {
        "coordinates": asymmetry["names"],
        "value": divergence["value"],
        "error": divergence["standard_error"],
        "by_chance": asymmetry["expected_by_chance"],
    }


def format_row(label: str, row: dict[str, Any]) -> str:
    """Return a row as one line: verdicts, the checks that do not pass alone, and the time."""
    checks = [
        f"{name} {entry['value'] if isinstance(entry['value'], str) else format(entry['value'], '.3g')}"
        f" ({entry['map_alone']})"
        for name, entry in row["checks"].items()
        if entry["map_alone"] != "pass"
    ]
    expected = row["expected"]
    met = "" if expected is None else " as expected" if expected["is_met"] else f" NOT as expected ({expected})"
    times = f"{row['n_used']} frames in {row['wall_time']} s ({row['processor_time']} s of processor)"
    return f"{label}: {row['map_alone']} alone, {row['with_model']} with model{met}; {', '.join(checks)}; {times}"


if __name__ == "__main__":
    main()
