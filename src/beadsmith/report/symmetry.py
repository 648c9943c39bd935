"""The part of the report on what the force field can tell apart, and on what its molecules kept in the simulation."""

from typing import Any

from beadsmith.diagnostics.permutation import UNCHANGED
from beadsmith.diagnostics.symmetry import describe_pair, describe_time
from beadsmith.report.contents import NETWORK
from beadsmith.report.figures.style import NAMES, Figure
from beadsmith.report.figures.symmetry import draw_barrier, draw_neighbours, draw_switches
from beadsmith.report.numbers import MISSING, format_measurement, format_number, format_percent
from beadsmith.report.tables import Table

_ROUNDING = 1e-9

Items = list[str | Table | list[Figure]]


def has_symmetry(evaluation: dict[str, Any] | None) -> bool:
    """Return whether there are bonds to keep or hands to tell apart."""
    return evaluation is not None and bool(evaluation["systems"]["reference"].get("bond_identity"))


def compose_symmetry(evaluation: dict[str, Any]) -> Items:
    """Return the probes of the force field, then hands and bonds of every run."""
    systems, probes = evaluation["systems"], evaluation.get("probes")
    items: Items = []
    if probes is not None:
        items += [_describe_parity(probes), _tabulate_parity(probes)]
        items += [_tabulate_exchanges(swaps, kind) for kind, swaps in probes["permutation"].items() if swaps]
    for kind in systems["reference"]["molecules"]:
        measured = {name: entry["molecules"][kind] for name, entry in systems.items() if kind in entry["molecules"]}
        items += _compose_hands(measured, probes, kind)
    bonds = {name: entry["bond_identity"] for name, entry in systems.items() if entry.get("bond_identity")}
    return [*items, [draw_switches(bonds), draw_neighbours(bonds)], _tabulate_bonds(bonds)]


def _describe_parity(probes: dict[str, Any]) -> str:
    parity = probes["parity"]
    if not parity["is_blind"]:
        beside = " Its network alone cannot: the prior makes the difference." if parity["is_network_blind"] else ""
        return "The force field tells a configuration from its mirror image." + beside
    return (
        "The force field gives every configuration the energy of its mirror image. Whether that matters, the maps "
        "below say: a molecule without a hand has none to lose, and a stereocentre that is kept holds the others."
    )


def _tabulate_parity(probes: dict[str, Any]) -> Table:
    return Table(
        caption=f"Parity probe: energies of {probes['parity']['n_frames']} frames of the reference against those of "
        "their mirror images, in float64. Rounding alone makes less than 1e−12.",
        header=("part of the energy", "largest relative difference", "rms difference [kJ/mol]"),
        rows=tuple(
            (name, format_number(entry["relative"], 2), format_number(entry["difference"]["value"]))
            for name, entry in probes["parity"]["parts"].items()
        ),
    )


def _tabulate_exchanges(swaps: list[dict[str, Any]], kind: str) -> Table:
    rows = [
        (
            describe_pair(swap),
            "one type" if swap["is_same_type"] else "two types",
            *(_format_rise(swap, part) for part in ("network", "total")),
            format_number(swap["relative"]["total"], 2),
        )
        for swap in swaps
    ]
    return Table(
        caption=f"Exchange probe: two beads of {kind} change places in frames of the reference. A change of 0 means "
        "that the energy does not see it; between two molecules, that it does not know which beads are bonded. Beads "
        "are named by residue and name.",
        header=("beads", "they are of", "network [kJ/mol]", "whole energy [kJ/mol]", "relative change"),
        rows=tuple(rows),
    )


def _format_rise(swap: dict[str, Any], part: str) -> str:
    """Return the change of a part of the energy, without what is rounding alone."""
    if swap["relative"].get(part, 0.0) < UNCHANGED:
        return "0"
    return format_measurement(swap["rise"][part], unit=False)


def _compose_hands(measured: dict[str, dict[str, Any]], probes: dict[str, Any] | None, kind: str) -> Items:
    """Return stereocentres, maps and helices of one kind of molecule."""
    items: Items = []
    reference = measured["reference"]
    locked = [name for name, entry in reference["stereocentres"].items() if entry["is_locked"]]
    if locked:
        items.append(_tabulate_centres(measured, probes, kind, locked))
    barriers = {} if probes is None else probes["inversion_barrier"].get(kind, {})
    if barriers:
        items.append([draw_barrier(entry, centre) for centre, entry in barriers.items()])
    maps = [label for label, entry in reference["surfaces"].items() if entry.get("asymmetry")]
    if maps:
        items.append(_tabulate_maps(measured, kind, maps))
    if reference["helices"] is not None:
        items.append(_tabulate_helices(measured, kind))
    return items


def _tabulate_centres(
    measured: dict[str, dict[str, Any]], probes: dict[str, Any] | None, kind: str, locked: list[str]
) -> Table:
    rows = []
    for centre in locked:
        for name, entry in measured.items():
            found = entry["stereocentres"].get(centre)
            if found is not None:
                own = probes if name == NETWORK else None
                flips, share = format_number(float(found["n_flips"])), format_percent(found["positive"])
                rows.append((centre, NAMES[name], flips, share, *_format_inversion(own, kind, centre)))
    return Table(
        caption=f"Stereocentres of {kind} that keep their hand in the reference: sign changes of the improper, the "
        "share of frames in which it is positive, the rise of the energy on the way through the plane with all else at "
        "rest, and by metadynamics the free-energy barrier with the waiting time of transition-state theory.",
        header=("stereocentre", "run", "flips", "positive", "path [kJ/mol]", "barrier [kJ/mol]", "one inversion in"),
        rows=tuple(rows),
    )


def _format_inversion(probes: dict[str, Any] | None, kind: str, centre: str) -> tuple[str, str, str]:
    """Return what the probes say about one stereocentre: rise along the path, barrier, waiting time."""
    path = {} if probes is None else probes["inversion_path"].get(kind, {}).get(centre, {})
    rise = format_measurement(path.get("rise"), unit=False)
    barrier = {} if probes is None else probes["inversion_barrier"].get(kind, {}).get(centre, {})
    if not barrier:
        return rise, MISSING, MISSING
    bound = "" if barrier["is_crossed"] else "at least "
    height = format_measurement(barrier["barrier"], unit=False)
    return rise, bound + height, bound + describe_time(barrier["waiting_time"]["value"])


def _tabulate_maps(measured: dict[str, dict[str, Any]], kind: str, labels: list[str]) -> Table:
    rows = []
    for label in labels:
        own = measured["reference"]["surfaces"][label]
        odd = next((key for key in (own["x"], own["y"]) if _find_share(measured["reference"], key)), own["x"])
        for name, entry in measured.items():
            asymmetry = entry["surfaces"].get(label, {}).get("asymmetry")
            if asymmetry is not None:
                share = format_percent(_find_share(entry, odd))
                rows.append((label, NAMES[name], _format_asymmetry(asymmetry), f"{odd} > 0: {share}"))
    return Table(
        caption=f"Maps of {kind} against their mirror images: Jensen-Shannon divergence [nat], 0 if symmetric and 0.69 "
        "if one hand never looks like the other, and the share of frames in which a coordinate is positive. Few frames "
        "make any map look asymmetric.",
        header=("map", "run", "asymmetry [nat]", "share"),
        rows=tuple(rows),
    )


def _format_asymmetry(entry: dict[str, Any]) -> str:
    """Return a divergence with its error; that of two hands without any overlap is known to rounding."""
    is_exact = (entry["standard_error"] or 0.0) < _ROUNDING
    return format_measurement(entry | ({"standard_error": None} if is_exact else {}), unit=False)


def _find_share(molecule: dict[str, Any], coordinate: str) -> dict[str, Any] | None:
    share: dict[str, Any] | None = molecule["coordinates"].get(coordinate, {}).get("positive")
    return share


def _tabulate_helices(measured: dict[str, dict[str, Any]], kind: str) -> Table:
    rows = [
        (
            title,
            *(
                MISSING if entry["helices"] is None else format_percent(entry["helices"][key])
                for entry in measured.values()
            ),
        )
        for key, title in (("helical", "helical frames"), ("left_handed", "left-handed ones among them"))
    ]
    return Table(
        caption=f"Helices of {kind}: frames whose helicity Q is above 0.5, and among them those whose handedness ξ is "
        "negative. Q is blind to the hand, and ξ alone takes polyproline II for a left-handed helix.",
        header=("share of frames", *(NAMES[name] for name in measured)),
        rows=tuple(rows),
    )


def _tabulate_bonds(bonds: dict[str, dict[str, Any]]) -> Table:
    kinds = dict.fromkeys(kind for entry in bonds.values() for kind in entry["closest_contact"])
    rows = [
        ("bonds that ever switched", *(format_percent(entry["switched"]) for entry in bonds.values())),
        ("first of them", *(_format_time(entry["first_switch"]) for entry in bonds.values())),
        (
            "sites with another nearest neighbour than a partner, ever",
            *(format_percent(entry["changed"]) for entry in bonds.values()),
        ),
        ("first of them, too", *(_format_time(entry["first_change"]) for entry in bonds.values())),
        (
            "strangers among mutual nearest neighbours",
            *(format_percent(entry["strangers"]) for entry in bonds.values()),
        ),
    ]
    for kind in kinds:
        cells = (format_measurement(entry["closest_contact"].get(kind)) for entry in bonds.values())
        rows.append((f"closest contact, {kind}", *cells))
    return Table(
        caption="Bonds and contacts over all saved frames, also those that 'discard' leaves out elsewhere. Contacts "
        "are pairs more than two bonds apart, within molecules too.",
        header=("quantity", *(NAMES[name] for name in bonds)),
        rows=tuple(rows),
    )


def _format_time(entry: dict[str, Any]) -> str:
    return MISSING if entry["value"] is None else f"{format_number(entry['value'])} ps"
