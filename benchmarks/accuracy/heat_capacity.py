"""Heat capacity of a small box of methanol: the fluctuation of the atoms against the law of total variance.

    python -m benchmarks.accuracy.heat_capacity [--scratch FOLDER]

One reference gives the configurational heat capacity Var(u)/kT² at once. Runs at fixed beads from frames of the same
reference give U(R) = <u>_R and Var_R(u) of each, and so Var U(R)/kT² + <Var_R(u)>/kT². Both are the same number. What
the averages U(R) still scatter by is subtracted from their variance.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

import beadsmith
from beadsmith.analysis.thermodynamics import measure_heat_capacity
from beadsmith.io.h5md import read_trajectory
from beadsmith.io.records import write_json
from beadsmith.units import thermal_energy

HERE = Path(__file__).parent
N_MOLECULES, TEMPERATURE = 50, 300.0
RUN = f"""\
name: small_box
seed: 1
system: {{molecules: [{{name: methanol, count: {N_MOLECULES}}}]}}
state: {{temperature: {TEMPERATURE:g} K, density: 0.75 g/cm^3}}
sampling: {{timestep: 2 fs, cutoff: 0.75 nm, equilibration: 40 ps, duration: 1.2 ns, save_interval: 0.2 ps}}
mean_force: {{frames: 240, duration: 4 ps, timestep: 2 fs}}
prior: {{cutoff: 0.75 nm}}
network: {{kind: hipnn, cutoff: 0.75 nm, soft_max: 0.7 nm}}
"""
N_BLOCKS = 20


def main() -> None:
    """Sample, average and write ``heat_capacity.json``."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy.heat_capacity", description=__doc__)
    parser.add_argument("--scratch", type=Path, default=Path("runs/heat_capacity"), help="folder of what is computed")
    parser.add_argument("--output", type=Path, default=HERE / "heat_capacity.json", help="file of the figures")
    arguments = parser.parse_args()
    arguments.scratch.mkdir(parents=True, exist_ok=True)
    file = arguments.scratch / "small_box.yaml"
    file.write_text(RUN)
    run = arguments.scratch / "run"
    beadsmith.run(file, output=run, verbs=("sample", "map", "average"))
    figures = compare(run)
    write_json(arguments.output, figures)
    print(figures)


def compare(run: Path) -> dict[str, Any]:
    """Return both heat capacities without kinetic part, of one molecule [J/mol/K], and their distance."""
    energies = read_trajectory(run / "reference.h5").energy
    assert energies is not None
    atoms = measure_heat_capacity(energies, temperature=TEMPERATURE, n_molecules=N_MOLECULES, n_blocks=N_BLOCKS).total
    labels = read_trajectory(run / "mean_force.h5")
    assert labels.energy is not None
    assert labels.energy_noise is not None
    assert labels.energy_variance is not None
    scale = 1.0 / (thermal_energy(TEMPERATURE) * TEMPERATURE)
    parts = {}
    for name, energy, within in (
        ("by_total_variance", labels.energy, labels.energy_variance - labels.energy_noise**2),
        ("within", np.zeros(labels.n_frames), labels.energy_variance),
        ("between", labels.energy, -(labels.energy_noise**2)),
    ):
        parts[name] = measure_heat_capacity(
            energy, scale * within, temperature=TEMPERATURE, n_molecules=N_MOLECULES, n_blocks=N_BLOCKS
        ).total
    deviation = parts["by_total_variance"].value - atoms.value
    error = float(np.hypot(parts["by_total_variance"].standard_error, atoms.standard_error))
    return {
        "n_frames": len(energies),
        "n_averaged_frames": labels.n_frames,
        "by_fluctuation": atoms.to_json(),
        **{name: part.to_json() for name, part in parts.items()},
        "deviation_in_standard_errors": deviation / error,
    }


if __name__ == "__main__":
    main()
