"""Does it matter that filters are tables and sweeps are compiled? Loss curves with and without, on the same data.

    python -m benchmarks.accuracy.curves --run FOLDER [--networks NAME ...] [--epochs 3] [--output FILE]

Every network trains twice from the same weights over the same frames in the same order: as shipped (compiled sweeps,
radial tables), and in plain torch with radial functions evaluated at every pair. Rounding makes the two drift apart as
two seeds do, only less; so a second seed of the shipped form is the measure of what noise is.
"""

import argparse
import csv
import tempfile
from dataclasses import replace
from pathlib import Path

from beadsmith.config.load import load_config
from beadsmith.energy import AbstractNetwork
from beadsmith.networks.hipnn import HipnnSettings
from beadsmith.networks.kinds import NetworkSettings
from beadsmith.networks.mace import MaceSettings
from beadsmith.networks.schnet import SchnetSettings
from beadsmith.training.fit import train

from .__main__ import EXAMPLE, read_rows

NETWORKS: dict[str, tuple[NetworkSettings, NetworkSettings]] = {
    "HIP-NN-TS": (HipnnSettings(), HipnnSettings()),
    "SchNet": (SchnetSettings(), SchnetSettings(n_knots=0)),
    "MACE": (MaceSettings(), MaceSettings(n_knots=0)),
}


def main() -> None:
    """Train all networks in all forms and write their validation losses."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy.curves", description=__doc__.split("\n")[0])
    parser.add_argument("--run", type=Path, required=True, help="run folder of a finished 'make demo'")
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=list(NETWORKS), help="which to train")
    parser.add_argument("--epochs", type=int, default=3, help="passes over the training frames")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "curves.csv", help="file of the results")
    arguments = parser.parse_args()
    rows = [row for row in read_rows(arguments.output) if row["network"] not in arguments.networks]
    for name in arguments.networks:
        shipped, exact = NETWORKS[name]
        for form, settings, is_fused, seed in (
            ("compiled, tables", shipped, True, 1),
            ("plain torch, exact", exact, False, 1),
            ("compiled, tables", shipped, True, 2),
        ):
            for epoch, loss in enumerate(fit_curve(settings, arguments, is_fused=is_fused, seed=seed), start=1):
                rows.append({"network": name, "form": form, "seed": seed, "epoch": epoch, "validation_loss": loss})
            print(*rows[-1].values(), sep=", ", flush=True)
    with arguments.output.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def fit_curve(settings: NetworkSettings, arguments: argparse.Namespace, *, is_fused: bool, seed: int) -> list[float]:
    """Return the validation loss of each epoch [(kJ/mol/nm)²]."""
    configuration = load_config(EXAMPLE)
    training = replace(configuration.training, epochs=arguments.epochs, noise_floor_fractions=())
    before = AbstractNetwork.is_fused
    # the class attribute is what a network has that was never told otherwise
    AbstractNetwork.is_fused = is_fused
    try:
        with tempfile.TemporaryDirectory() as folder:
            train(
                training,
                settings,
                configuration.prior,
                (arguments.run / "mapped.h5",),
                Path(folder) / "force_field",
                baseline_output=Path(folder) / "pair_spline",
                seed=seed,
                identity="curves",
            )
            return [float(row["validation_loss"]) for row in read_rows(Path(folder) / "training.csv")]
    finally:
        AbstractNetwork.is_fused = before


if __name__ == "__main__":
    main()
