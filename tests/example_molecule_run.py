"""A run folder of a synthetic molecule: capped alanine whose network has too much helix and whose prior has no hand."""

from pathlib import Path

import numpy as np

from beadsmith.analysis.definitions import MoleculeSettings, SlowModeSettings
from beadsmith.analysis.evaluate import EvaluationSettings, evaluate
from beadsmith.diagnostics.data import check_reference
from beadsmith.diagnostics.dynamics import check_simulation
from beadsmith.io.h5md import write_trajectory
from beadsmith.io.records import write_json
from example_molecules import make_dipeptide, make_two_states
from example_run import make_record

N_REPLICAS, N_FRAMES = 20, 300


def write_molecule_run(folder: Path) -> Path:
    """Write the reference, two simulations of many replicas, their evaluation and checks into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    segment = np.repeat(np.arange(N_REPLICAS), N_FRAMES)
    for name, leave, options in (
        ("mapped", (0.02, 0.03), {}),
        ("simulation", (0.03, 0.03), {"kappa": 17.0}),
        ("pair_spline", (0.05, 0.02), {"kappa": 8.0, "mirrored": 0.5}),
    ):
        states = make_two_states(generator, n_frames=N_FRAMES, leave=leave, starts=np.arange(N_REPLICAS) % 2)
        trajectory = make_dipeptide(
            generator, n_frames=states.size, in_helix=states.ravel(), segment=segment, **options
        )
        write_trajectory(folder / f"{name}.h5", trajectory)
    simulations = {"network": folder / "simulation.h5", "pair_spline": folder / "pair_spline.h5"}
    settings = EvaluationSettings(molecules=MoleculeSettings(slow_modes=SlowModeSettings(lag=5.0, n_states=20)))
    evaluation = evaluate(folder / "mapped.h5", simulations, settings)
    write_json(folder / "evaluation.json", evaluation)
    checks = [*check_reference(evaluation), *check_simulation(evaluation)]
    write_json(folder / "checks.json", {"checks": [check.to_json() for check in checks]})
    write_json(folder / "record.json", make_record())
    return folder


if __name__ == "__main__":
    import sys

    from beadsmith.report.build import build_report

    build_report(write_molecule_run(Path(sys.argv[1])))
