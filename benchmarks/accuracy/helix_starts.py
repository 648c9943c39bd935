"""Fifteen alanines: what is left of a right-handed and of a left-handed helix, map by map.

    beadsmith sample examples/peptides/alanine_15mer.yaml --set 'sampling.duration=0.5 ns' \\
        --set 'sampling.save_interval=0.2 ps' --set 'sampling.equilibration=20 ps'
    python -m benchmarks.accuracy.helix_starts [--reference runs/alanine_15mer] [--rows "core, cosines" ...]

Every force field is trained on the same frames, all of which started as a right-handed helix, and simulated from frames
of the reference and from left-handed helices of L-alanine: the mirror images of these frames, with each C-beta put back
on its side. Helicity counts either hand, handedness tells them apart; both are means over the last half of the run,
with errors over replicas. Rows that ``helix_starts.json`` has already are not computed again.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import beadsmith
from beadsmith.analysis.helices import handedness, helicity
from beadsmith.io.h5md import read_trajectory, write_trajectory
from beadsmith.io.records import read_json, write_json
from beadsmith.simulation.start import FileStart
from beadsmith.trajectory import Trajectory

HERE = Path(__file__).parent
EXAMPLE = HERE.parents[1] / "examples" / "peptides" / "alanine_15mer.yaml"
OUTPUT = HERE / "helix_starts.json"
REPLICAS, DURATION = 20, "100 ps"
SETTINGS = (
    "sampling.duration=0.5 ns",
    "sampling.save_interval=0.2 ps",
    "sampling.equilibration=20 ps",
    "baseline=false",
    "training.epochs=8",
    f"simulation.replicas={REPLICAS}",
    f"simulation.duration={DURATION}",
    "simulation.equilibration=0 ps",
    "evaluation.discard=50 ps",
)
_NO_SINES = ("prior.dihedrals=cosine", "prior.impropers=cosine")
_LONG = ("network.cutoff=1.2 nm",)

ROWS: dict[str, tuple[str, tuple[str, ...]]] = {
    "core, cosines": ("core", _NO_SINES),
    "core, sines": ("core", ()),
    "core + C-beta, cosines": ("core_beta_map2", _NO_SINES[:1]),
    "alpha carbons, cosines": ("alpha_carbon", (*_NO_SINES, *_LONG)),
    "alpha carbons, sines": ("alpha_carbon", _LONG),
}
"""By row: map, and what replaces settings of the example."""


def main() -> None:
    """Compute the rows that are missing, one after the other."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy.helix_starts", description=__doc__)
    parser.add_argument("--reference", type=Path, default=Path("runs/alanine_15mer"), help="run folder with frames")
    parser.add_argument("--scratch", type=Path, default=Path("runs/helix_starts"), help="folder of the runs")
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=list(ROWS), help="only these rows")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="file of the figures")
    options = parser.parse_args()
    for name in options.rows:
        rows = read_json(options.output) if options.output.is_file() else {}
        if name not in rows:
            folder = options.scratch / name.replace(",", "").replace(" ", "_").replace("+", "and")
            rows[name] = measure(name, options.reference, folder)
            write_json(options.output, rows)
        print(name, rows[name], flush=True)


def measure(name: str, reference: Path, folder: Path) -> dict[str, Any]:
    """Train one row, simulate both starts and return their shapes."""
    map_name, overrides = ROWS[name]
    files = f"mapping.files=[{EXAMPLE.parent / 'maps' / f'{map_name}.yaml'}]"
    result = beadsmith.run(
        EXAMPLE,
        (files, *SETTINGS, *overrides),
        output=folder,
        verbs=("map", "diagnose", "train", "simulate"),
        reuse=[reference],
    )
    mapped = read_trajectory(folder / "mapped.h5")
    mirrored = folder / "mirrored.h5"
    if not mirrored.exists():
        write_trajectory(mirrored, turn_left(mapped))
    other = folder / "from_the_left.h5"
    force_field = beadsmith.load_force_field(folder / "force_field")
    turned = beadsmith.simulate(
        force_field, FileStart(path=mirrored), result.settings.simulation, other,
        temperature=result.settings.state.temperature, seed=result.settings.seed, identity=name,
    )  # fmt: skip
    training = read_json(folder / "training.json")
    right = result.record.stages["simulate"].summary
    return {
        "diagnosis": read_json(folder / "diagnosis.json")["summary"],
        "losses": {model: entry["test"]["value"] for model, entry in training["losses"].items()},
        "reference": describe(mapped),
        "right": {"stopped": len(right["stopped"]), **describe(read_trajectory(folder / "simulation.h5"))},
        "left": {"stopped": len(turned["stopped"]), **describe(read_trajectory(other))},
        "steps_per_second": right["speed"]["steps_per_second"],
    }


def turn_left(frames: Trajectory) -> Trajectory:
    """Return frames whose backbone is mirrored while every C-beta stays on the side that L-alanine has it on."""
    positions = -frames.positions.astype(np.float64)
    names, residues = frames.topology.names, frames.topology.residue_index
    site = {(int(residue), name): number for number, (residue, name) in enumerate(zip(residues, names, strict=True))}
    for (residue, name), beta in site.items():
        if name == "CB":
            here = positions[:, [site[residue, other] for other in ("N", "CA", "C")]]
            normal = np.cross(here[:, 0] - here[:, 1], here[:, 2] - here[:, 1])
            normal /= np.linalg.norm(normal, axis=1, keepdims=True)
            height = np.sum((positions[:, beta] - here[:, 1]) * normal, axis=1, keepdims=True)
            positions[:, beta] -= 2.0 * height * normal
    return replace(frames, positions=positions.astype(np.float32), forces=None)


def describe(frames: Trajectory) -> dict[str, Any]:
    """Return helicity and handedness at the start and in the last half of all replicas, with errors over replicas."""
    carbons = [site for site, name in enumerate(frames.topology.names) if name.startswith("CA")]
    chain = frames.positions[:, carbons].astype(np.float64)
    segment = np.zeros(frames.n_frames, dtype=np.int64) if frames.segment is None else frames.segment
    found: dict[str, Any] = {"n_replicas": len(np.unique(segment)), "n_frames": frames.n_frames}
    for name, values in (("helicity", helicity(chain)), ("handedness", handedness(chain))):
        replicas = [values[segment == number] for number in np.unique(segment)]
        late = np.array([entry[len(entry) // 2 :].mean() for entry in replicas])
        found[name] = {
            "start": float(np.mean([entry[0] for entry in replicas])),
            "late": float(late.mean()),
            "error": float(late.std(ddof=1) / np.sqrt(len(late))),
        }
    return found


if __name__ == "__main__":
    main()
