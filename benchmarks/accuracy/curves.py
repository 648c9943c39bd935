"""Does it matter that filters are tables and sweeps are compiled? Loss curves with and without, on the same data.

    python -m benchmarks.accuracy.curves --run FOLDER [--networks NAME ...] [--frames 100] [--seeds 1 2 3 4]

Every network trains in two forms: as shipped (compiled sweeps, radial tables), and in plain torch with radial functions
evaluated at every pair. For one seed both start from the same weights and see the same frames in the same order: their
difference is the effect of the form plus what rounding grows into. Its mean over the seeds, with its standard error,
says whether there is an effect; the spread of the seeds says how large one would have to be to matter.
"""

import argparse
import csv
import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from beadsmith.config.load import load_config
from beadsmith.energy import AbstractNetwork
from beadsmith.io.h5md import read_trajectory, write_trajectory
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


FORMS = ("compiled, tables", "plain torch, exact")


def main() -> None:
    """Train all networks in both forms and write their validation losses."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy.curves", description=__doc__.split("\n")[0])
    parser.add_argument("--run", type=Path, required=True, help="run folder of a finished 'make demo'")
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=list(NETWORKS), help="which to train")
    parser.add_argument("--frames", type=int, default=100, help="number of frames, of which the usual part is held out")
    parser.add_argument("--epochs", type=int, default=3, help="passes over the training frames")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4], help="seeds of weights and frame order")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "curves.csv", help="file of the results")
    arguments = parser.parse_args()
    rows = [row for row in read_rows(arguments.output) if row["network"] not in arguments.networks]
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(scratch) / "mapped.h5"
        write_trajectory(data, read_trajectory(arguments.run / "mapped.h5").select(slice(0, arguments.frames)))
        for name in arguments.networks:
            for seed in arguments.seeds:
                for form, settings in zip(FORMS, NETWORKS[name], strict=True):
                    curve = fit_curve(settings, data, epochs=arguments.epochs, is_fused=form == FORMS[0], seed=seed)
                    for epoch, loss in enumerate(curve, start=1):
                        rows.append(
                            {
                                "network": name,
                                "form": form,
                                "seed": seed,
                                "frames": arguments.frames,
                                "epoch": epoch,
                                "validation_loss": loss,
                            }
                        )
                    print(name, form, seed, *(f"{loss:.0f}" for loss in curve), flush=True)
            print("\n".join(summarise([row for row in rows if row["network"] == name])), flush=True)
    with arguments.output.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def summarise(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Yield a line for each epoch: how far the two forms of one network are apart, and how far seeds are."""
    for epoch in sorted({row["epoch"] for row in rows}):
        losses = {(row["form"], row["seed"]): row["validation_loss"] for row in rows if row["epoch"] == epoch}
        shipped, exact = ([loss for (form, _), loss in sorted(losses.items()) if form == one] for one in FORMS)
        apart = [100.0 * (b / a - 1.0) for a, b in zip(shipped, exact, strict=True)]
        error = statistics.stdev(apart) / len(apart) ** 0.5
        spread = 100.0 * statistics.stdev(shipped) / statistics.fmean(shipped)
        yield (
            f"{rows[0]['network']}, epoch {epoch}: exact over tables {statistics.fmean(apart):+.2f} ± {error:.2f} %, "
            f"{len(apart)} seeds, which spread by {spread:.2f} %"
        )


def fit_curve(settings: NetworkSettings, data: Path, *, epochs: int, is_fused: bool, seed: int) -> list[float]:
    """Return the validation loss of each epoch [(kJ/mol/nm)²]."""
    configuration = load_config(EXAMPLE)
    training = replace(configuration.training, epochs=epochs, noise_floor_fractions=())
    before = AbstractNetwork.is_fused
    # the class attribute is what a network has that was never told otherwise
    AbstractNetwork.is_fused = is_fused
    try:
        with tempfile.TemporaryDirectory() as folder:
            train(
                training,
                settings,
                configuration.prior,
                (data,),
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
