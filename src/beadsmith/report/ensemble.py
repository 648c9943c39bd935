"""The part of the report on an ensemble: who its networks are, where they disagree, and what that cannot tell."""

from typing import Any

import numpy as np

from beadsmith.analysis.member_spread import SPREAD
from beadsmith.report.figures.ensemble import draw_force_spread
from beadsmith.report.figures.style import Figure, as_numbers
from beadsmith.report.numbers import MISSING, format_measurement, format_number, format_percent, typeset_kind
from beadsmith.report.tables import Table

_NETWORK = "network"

_LIMITS = (
    "What the spread tells: how far the result of one training is from that of another, on curves and on forces. What "
    "it cannot tell: errors that all of them share. They have the data, the architecture, the mapping and the prior in "
    "common, so a wrong atomistic force field, states that no run ever visited, or a network too small for the task "
    "leave no trace in it. It is no bound of the error and no proof that the model is right."
)

_SCALARS = {
    "pressure": "pressure",
    "density": "density",
    "compressibility": "compressibility",
    "heat_capacity": "heat capacity",
    # no energy of the simulation: each network has a zero of its own
    "mean_energy": "mean potential energy",
}


def compose_ensemble(evaluation: dict[str, Any], training: dict[str, Any] | None) -> list[str | Table | list[Figure]]:
    """Return members, their spread on numbers and curves, and the force spread in time."""
    ensemble = evaluation["ensemble"]
    items: list[str | Table | list[Figure]] = [_describe(ensemble), _LIMITS, _tabulate_members(ensemble, training)]
    rows = _collect_rows(evaluation)
    if rows:
        items.append(
            Table(
                caption="Spread over the networks beside the standard error of one run. Where both are of one size, "
                "the networks agree as far as these runs can tell. Curves: root mean square over bins, of free "
                "energies weighted by the population of each bin.",
                header=("quantity", "network ± standard error", "standard error", "spread over networks"),
                rows=tuple(rows),
            )
        )
    items.append(_describe_force_spread(ensemble))
    items.append([draw_force_spread(ensemble)])
    return items


def _describe(ensemble: dict[str, Any]) -> str:
    n_members = ensemble["n_members"]
    if ensemble["kind"] == "seeds":
        differ = "in the seed of their first weights and of the order of the frames"
    else:
        differ = (
            "in their seed, and all but the first were each not shown one contiguous part in "
            f"{n_members - 1} of the training frames"
        )
    return (
        f"{n_members} networks were trained and simulated alike; they differ {differ}. The first is the force field of "
        "this run and has all curves of this page; hatched bands are one standard deviation over all of them."
    )


def _tabulate_members(ensemble: dict[str, Any], training: dict[str, Any] | None) -> Table:
    explained = (training or {}).get("explained_variance", {})
    main = explained.get("corrected", explained.get(_NETWORK, {})).get("test")
    rows = []
    for entry in ensemble["members"]:
        number = entry["number"]
        fold = "none" if entry["fold"] is None else f"{entry['fold']} of {ensemble['n_members'] - 1}"
        value = main if number == 0 else entry["explained"]
        share = MISSING if value is None else format_percent(value)
        rows.append((f"{number + 1}{' (this run)' if number == 0 else ''}", str(entry["seed"]), fold, share))
    return Table(
        caption="The networks, and the force variance of test frames that each explains ± one standard error. The test "
        "frames are the same, so differences are better known than the errors say.",
        header=("network", "seed", "fold left out", "explained (test)"),
        rows=tuple(rows),
    )


def _collect_rows(evaluation: dict[str, Any]) -> list[tuple[str, ...]]:
    system, comparison = evaluation["systems"][_NETWORK], evaluation["comparisons"][_NETWORK]
    numbers = {title: system.get(key) for key, title in _SCALARS.items()}
    numbers |= {f"diffusion of {kind}": entry for kind, entry in system["diffusion"].items()}
    numbers |= {
        f"mean |Δg| of {typeset_kind(kind)}": entry["mean_difference"] for kind, entry in comparison["rdf"].items()
    }
    curves = {f"g(r) of {typeset_kind(kind)}": curve for kind, curve in system["rdf"].items()}
    for molecule in system["molecules"].values():
        numbers |= {f"population of {name}": entry for name, entry in molecule["basins"].items()}
        curves |= {f"density of {typeset_kind(k)}": entry["curve"] for k, entry in molecule["coordinates"].items()}
        curves |= {f"free energy over {typeset_kind(k)} [kT]": surface for k, surface in molecule["surfaces"].items()}
    rows: list[tuple[str, ...]] = []
    for title, entry in numbers.items():
        # a density at constant volume has neither error nor spread
        if entry is not None and entry.get(SPREAD):
            error = format_number(entry["standard_error"], 2)
            rows.append((title, format_measurement(entry), error, format_number(entry[SPREAD], 2)))
    for title, curve in curves.items():
        if SPREAD in curve:
            means = (_root_mean_square(curve[key], curve.get("probability")) for key in ("standard_error", SPREAD))
            error, spread = (format_number(value, 2) for value in means)
            if "probability" in curve:
                spread += f", at most {format_number(float(np.nanmax(as_numbers(curve[SPREAD]), initial=0.0)), 2)}"
            rows.append((title, "surface" if "probability" in curve else "curve", error, spread))
    return rows


def _root_mean_square(values: list[Any], probability: list[Any] | None) -> float:
    """Return the root mean square over known bins, each with the weight of its population where that is given."""
    numbers = as_numbers(values)
    weights = np.where(np.isfinite(numbers), 1.0 if probability is None else as_numbers(probability), 0.0)
    total = float(weights.sum())
    return float(np.sqrt(np.sum(weights * np.nan_to_num(numbers) ** 2) / total)) if total > 0.0 else float("nan")


def _describe_force_spread(ensemble: dict[str, Any]) -> str:
    scale, flagged = ensemble["force_spread"], ensemble["flagged"]
    typical = ", ".join(f"{format_number(value)} kJ/mol/nm ({name})" for name, value in scale["typical"].items())
    text = (
        f"On training frames the forces of the networks lie typically {typical} apart per component. A frame is "
        "flagged where the largest spread of any of its beads, in units of what is typical, is beyond that of "
        f"{scale['percentile']} % of the training frames. Of the test frames, which no network was trained on, "
        f"{format_percent(flagged['test'])} are flagged; "
    )
    if flagged["simulation"] is None:
        return text + "simulated frames have other numbers of beads than any training frame, so they have no threshold."
    return text + (
        f"of the simulated frames {format_percent(flagged['simulation'])}. About {100 - scale['percentile']} % is what "
        "frames like the training frames give; neighbouring frames are alike, so flags come in groups."
    )
