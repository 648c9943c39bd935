"""beadsmith: from atomistic trajectories to machine-learned coarse-grained force fields that a scientist can trust.

``beadsmith.run("methanol.yaml")`` does everything; the verbs below do one stage each. A name is imported when it is
first used, so that ``import beadsmith`` costs nothing.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "run": "pipeline.execute",
    "check_config": "pipeline.estimate",
    "simulate_force_field": "pipeline.standalone",
    "load_config": "config.load",
    "sample": "sampling.run",
    "import_reference": "importing.run",
    "map_reference": "mapping.apply",
    "fit_prior": "priors.fit",
    "train": "training.fit",
    "simulate": "simulation.run",
    "evaluate": "analysis.evaluate",
    "build_report": "report.build",
    "load_force_field": "force_field",
    "save_force_field": "force_field",
    "read_trajectory": "io.h5md",
    "write_trajectory": "io.h5md",
}
"""Module of each public name."""

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module 'beadsmith' has no attribute '{name}'")
    return getattr(import_module(f"beadsmith.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """Name what a user can ask for."""
    return sorted(__all__)
