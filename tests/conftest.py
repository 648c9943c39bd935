"""Test set-up: array shapes of all records and public functions are checked at run time."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

from jaxtyping import install_import_hook

from small_run import finished_run, small_run  # noqa: F401 (fixtures for all modules)

# The seams: a wrong shape or dtype fails where it enters, not three calls later. Topology and Trajectory check
# themselves, with messages for users that the hook would hide.
CHECKED = [
    "beadsmith.batch",
    "beadsmith.energy",
    "beadsmith.geometry",
    "beadsmith.linear_map",
    "beadsmith.mapping.aggregation",
    "beadsmith.mapping.beads",
    "beadsmith.mapping.bonds",
    "beadsmith.mapping.constraints",
    "beadsmith.mapping.definitions",
    "beadsmith.mapping.frames",
    "beadsmith.mapping.noise",
    "beadsmith.mapping.record",
    "beadsmith.neighbors",
    "beadsmith.statistics",
]
install_import_hook(CHECKED, "beartype.beartype").__enter__()


def pytest_addoption(parser):
    """Add the option that tells the demo tests which finished run to judge."""
    parser.addoption("--run-folder", default="runs/methanol", help="run folder that 'make demo' wrote")
