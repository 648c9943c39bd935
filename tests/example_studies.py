"""Studies of the small methanol run: seconds each, because its reference is taken over."""

from pathlib import Path

import yaml

from beadsmith.study.definition import read_study
from small_run import SMALL_YAML

SPLINE_AND_NETWORK = {
    "spline": "none",
    "hipnn": {"n_features": 4, "n_atom_layers": 1, "n_sensitivities": 8, "cutoff": "0.7 nm", "soft_max": "0.6 nm"},
}
MAPPINGS = {
    "centre": {"beads": "center_of_mass"},
    "oxygen": {
        "definitions": [{"name": "methanol", "beads": [{"name": "O", "atoms": ["O"], "weights": "atom"}]}],
        "forces": "uniform",
    },
}

GRID = {"kind": "transfer", "temperatures": ["300 K", "330 K"], "densities": ["0.7 g/cm^3", "0.75 g/cm^3"]}


def describe_base(**changes):
    """Return the small configuration, shorter still, with some sections changed key by key."""
    base = yaml.safe_load(SMALL_YAML)
    base["training"]["epochs"] = 1
    base["simulation"] |= {"duration": "1 ps", "equilibration": "0.1 ps"}
    base["evaluation"] |= {"discard": "0 ps", "n_blocks": 4}
    for section, values in changes.items():
        base[section] = base[section] | values
    return base


def write_study(folder: Path, **entries) -> Path:
    """Write the file of a study into a folder; a mapping study unless the entries say otherwise."""
    document = {"kind": "mapping", "name": "toy", "base": describe_base(), "replicas": 2, **entries}
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


def make_study(folder: Path, **entries):
    """Return the study that such a file describes, in a folder of its own."""
    return read_study(write_study(folder, **entries), folder / "toy")
