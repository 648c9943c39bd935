"""Can the force field tell apart what the molecule tells apart? Checks of mirror images, exchanged beads and hands.

Probes of energies speak of the force field itself; what the simulation did with it stands beside them.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from beadsmith.analysis.inversion import compute_required_barrier, compute_waiting_time
from beadsmith.check import Check, Status
from beadsmith.diagnostics.parity import BLIND
from beadsmith.diagnostics.permutation import UNCHANGED
from beadsmith.units import KILOCALORIE_PER_MOL

LEAST_ASYMMETRY = 0.05
"""Divergence of a map from its mirror image [nats] from which on a molecule has a hand; glycine has less than 0.01."""

ASYMMETRY_SHARE = (0.5, 0.25)
"""Asymmetry of the simulated map, as a share of the reference's, that passes, and below which it fails."""

DISTINCT = 1e-6
"""Relative change of the energy that an exchange of beads of different types must make."""

LEFT_HANDED_DIFFERENCE = (0.05, 0.15)
"""Difference of the share of left-handed helices that passes, and that fails."""

FEWEST_HELICAL = 0.01
"""Share of helical frames from which on their hand is judged."""

LOWEST_PATH = 15.0 * KILOCALORIE_PER_MOL
"""Rise of the energy [kJ/mol] on the way of a substituent through the plane; the free-energy barrier is lower."""


_BOND_CHECKS, _LABEL_CHECK = ("bond overlap", "bond gap", "bond recovery"), "bead labels"
"""Checks of the diagnosis that say whether exchanges between molecules, and within one, can come about."""

_SEE_HANDS = (
    "Give the prior sines ('prior.dihedrals: fourier') or signed impropers ('prior.impropers: harmonic'), use "
    "'network: {kind: mace, symmetry: SO(3), l_max_hidden: 2, n_layers: 3}', or keep C-beta "
    "('mapping.beads: backbone_cb')."
)


def check_symmetry(evaluation: dict[str, Any], name: str, map_alone: Mapping[str, Status] | None = None) -> list[Check]:
    """Return the checks of symmetry of one simulation and its force field; none that does not apply.

    Parameters
    ----------
    evaluation : What `evaluate` returned, with what the probes found under ``probes``.
    name : Simulation to judge.
    map_alone : Verdict of the diagnosis on the map alone, by check; None where there was no diagnosis.
    """
    reference = evaluation["systems"]["reference"]["molecules"]
    simulated = evaluation["systems"][name]["molecules"]
    shared = {kind: (simulated[kind], entry) for kind, entry in reference.items() if kind in simulated}
    probes = evaluation.get("probes")
    checks = [] if probes is None else [*_check_parity(probes, reference), *_check_exchanges(probes, map_alone or {})]
    checks += _check_flips(shared)
    checks += _check_maps(shared)
    checks += _check_helices(shared)
    if probes is not None:
        checks += _check_paths(probes)
        checks += _check_barriers(probes, evaluation["systems"][name])
    return checks


def find_asymmetries(molecule: dict[str, Any]) -> dict[str, float]:
    """Return the divergence of each distribution that a reflection changes from its mirror image [nats], by its name.

    Maps stand for their coordinates; where there are none, single coordinates are looked at.
    """
    for key in ("surfaces", "coordinates"):
        found = {name: entry["asymmetry"]["value"] for name, entry in molecule[key].items() if entry.get("asymmetry")}
        if found:
            return found
    return {}


def _has_locked_centre(molecule: dict[str, Any]) -> bool:
    return any(entry["is_locked"] for entry in molecule["stereocentres"].values())


def _check_parity(probes: dict[str, Any], reference: dict[str, Any]) -> list[Check]:
    hands = {kind: max(found.values()) for kind, entry in reference.items() if (found := find_asymmetries(entry))}
    if not hands:
        return []
    value, is_blind = probes["parity"]["parts"]["total"]["relative"], probes["parity"]["is_blind"]
    loose = [
        kind for kind, most in hands.items() if most >= LEAST_ASYMMETRY and not _has_locked_centre(reference[kind])
    ]
    if not is_blind:
        meaning = "The force field tells mirror images apart."
    elif loose:
        meaning = f"It gives mirror images one energy, and nothing in the beads of {loose[0]} keeps its hand."
    elif max(hands.values()) >= LEAST_ASYMMETRY:
        meaning = "It gives mirror images one energy; stereocentres of the beads keep the hand, behind their barrier."
    else:
        meaning = "It gives mirror images one energy, as it should: the molecule has no hand."
    return [
        Check(
            name="parity probe",
            status="fail" if is_blind and loose else "pass",
            value=value,
            unit="1",
            threshold=f">= {BLIND:g}" if loose else "any",
            meaning=f"Relative difference of the energies of {probes['parity']['n_frames']} frames and of their mirror "
            f"images, in float64. {meaning}",
            remedy=_SEE_HANDS,
        )
    ]


def _check_exchanges(probes: dict[str, Any], map_alone: Mapping[str, Status]) -> list[Check]:
    swaps = [swap for entries in probes["permutation"].values() for swap in entries]
    if not swaps:
        return []
    confused = [swap for swap in swaps if swap["is_same_type"] and swap["relative"]["total"] < UNCHANGED]
    unused = [swap for swap in swaps if not swap["is_same_type"] and swap["relative"]["total"] < DISTINCT]
    wrong = confused + unused
    grave = [swap for swap in confused if _is_grave(swap, map_alone)]
    which = f" The first is {describe_pair((grave or wrong)[0])}." if wrong else ""
    if grave:
        which += " By the diagnosis of the map, no barrier is sure to."
    return [
        Check(
            name="exchange probe",
            status="fail" if grave else "warn" if wrong else "pass",
            value=float(len(wrong)),
            unit=f"of {len(swaps)} pairs",
            threshold="0",
            meaning="Pairs of beads that may change places without any change of the energy, although the molecules "
            f"become others: nothing but a barrier keeps them where they are.{which}",
            remedy="Hold bonds by index ('prior.bonds: harmonic'), or use 'network.pair_classes: true'; within one "
            "molecule, give different beads different types ('mapping.types: graph' or 'name'), too.",
        )
    ]


def describe_pair(swap: dict[str, Any]) -> str:
    """Return the beads that an exchange is of: ``2:CB and 2:C``, or ``1:C6 of two molecules``."""
    # evaluations made before molecules exchanged their ends do not say so
    return f"{swap['beads'][0]} of two molecules" if swap.get("is_between", False) else " and ".join(swap["beads"])


def _is_grave(swap: dict[str, Any], map_alone: Mapping[str, Status]) -> bool:
    """Return whether an exchange that changes nothing can come about: the map does not keep the beads apart.

    Without a diagnosis nothing says that distances keep the partners of two molecules.
    """
    if swap.get("is_between", False):
        verdicts = [map_alone[name] for name in _BOND_CHECKS if name in map_alone]
        return not verdicts or "fail" in verdicts
    return map_alone.get(_LABEL_CHECK) == "fail"


def _check_flips(shared: dict[str, tuple[dict[str, Any], dict[str, Any]]]) -> list[Check]:
    found = [
        (centre, simulated["stereocentres"][centre], entry)
        for simulated, reference in shared.values()
        for centre, entry in reference["stereocentres"].items()
        if entry["is_locked"] and centre in simulated["stereocentres"]
    ]
    if not found:
        return []
    n_flips = sum(ours["n_flips"] for _, ours, _ in found)
    # a replica may be of the wrong hand from its first frame on
    wrong = [
        abs(ours["positive"]["value"] - theirs["positive"]["value"])
        for _, ours, theirs in found
        if theirs["positive"]["value"] in (0.0, 1.0)
    ]
    name, worst, _ = max(found, key=lambda item: item[1]["n_flips"])
    first = worst["first_flip"]["value"]
    when = "" if first is None else f" The most are of {name}, the first after {first:.4g} ps."
    if not n_flips and max(wrong, default=0.0) > 0.0:
        when = f" None flipped, but {100.0 * max(wrong):.3g} % of the frames are of the wrong hand."
    return [
        Check(
            name="stereocentre flips",
            status="fail" if n_flips or max(wrong, default=0.0) > 0.0 else "pass",
            value=float(n_flips),
            unit="1",
            threshold="0",
            meaning=f"Sign changes of the improper of {len(found)} stereocentre{'s' if len(found) > 1 else ''} that "
            f"never changed in the reference.{when}",
            remedy="Hold the hand with a signed improper ('prior.impropers: harmonic'), use 'network: {kind: mace, "
            "symmetry: SO(3)}', or give the substituents different types ('mapping.types: graph').",
        )
    ]


def _list_maps(
    shared: dict[str, tuple[dict[str, Any], dict[str, Any]]],
) -> Iterator[tuple[str, float, float, dict[str, Any], dict[str, Any]]]:
    """Give every map of phi and psi that a reflection changes: name, both asymmetries and both molecules."""
    for kind, (simulated, reference) in shared.items():
        for label, entry in reference["surfaces"].items():
            ours = simulated["surfaces"].get(label, {}).get("asymmetry")
            if entry.get("asymmetry") and ours and entry["x"].split()[0] == "phi":
                title = f"{kind}: {label}" if len(shared) > 1 else label
                yield title, ours["value"], entry["asymmetry"]["value"], simulated, reference


def _check_maps(shared: dict[str, tuple[dict[str, Any], dict[str, Any]]]) -> list[Check]:
    maps = [entry for entry in _list_maps(shared) if entry[2] >= LEAST_ASYMMETRY]
    if not maps:
        return []
    label, ours, theirs, simulated, reference = min(maps, key=lambda entry: entry[1] / entry[2])
    phi = label.split(": ")[-1].split(",")[0]
    share = {
        which: 100.0 * molecule["coordinates"][phi]["positive"]["value"]
        for which, molecule in (("simulation", simulated), ("reference", reference))
    }
    passes, fails = (limit * theirs for limit in ASYMMETRY_SHARE)
    return [
        Check(
            name="Ramachandran asymmetry",
            status="pass" if ours >= passes else "warn" if ours >= fails else "fail",
            value=ours,
            unit="nat",
            threshold=f">= {passes:.3g}",
            meaning=f"Jensen-Shannon divergence of the map of {label} from its mirror image, {theirs:.3g} in the "
            f"reference; {phi} > 0 has {share['simulation']:.3g} % of the frames, in the reference "
            f"{share['reference']:.3g} %. A symmetric map comes from an energy that cannot see the hand.",
            remedy=_SEE_HANDS,
        )
    ]


def _check_helices(shared: dict[str, tuple[dict[str, Any], dict[str, Any]]]) -> list[Check]:
    found = []
    for kind, pair in shared.items():
        ours, theirs = (entry["helices"] for entry in pair)
        if ours is None or theirs is None:
            continue
        if min(entry["helical"]["value"] for entry in (ours, theirs)) >= FEWEST_HELICAL:
            found.append((kind, ours["left_handed"], theirs["left_handed"]))
    if not found:
        return []
    kind, ours, theirs = max(found, key=lambda entry: abs(entry[1]["value"] - entry[2]["value"]))
    difference = ours["value"] - theirs["value"]
    limit = max(
        LEFT_HANDED_DIFFERENCE[0], 3.0 * math.hypot(ours["standard_error"] or 0.0, theirs["standard_error"] or 0.0)
    )
    status: Status = "pass" if abs(difference) <= limit else "warn"
    return [
        Check(
            name="left-handed helices",
            status="fail" if abs(difference) > max(LEFT_HANDED_DIFFERENCE[1], 2.0 * limit) else status,
            value=ours["value"],
            unit="1",
            threshold=f"within ±{limit:.3g} of {theirs['value']:.3g}",
            meaning=f"Share of left-handed frames (xi < 0) among the helical ones (Q > 0.5) of {kind}. Helicity alone "
            "does not see the hand: without it in the energy, half of all helices are left-handed.",
            remedy=_SEE_HANDS,
        )
    ]


def _check_paths(probes: dict[str, Any]) -> list[Check]:
    paths = [(centre, entry) for entries in probes["inversion_path"].values() for centre, entry in entries.items()]
    if not paths:
        return []
    centre, worst = min(paths, key=lambda item: item[1]["rise"]["value"])
    value = worst["rise"]["value"]
    return [
        Check(
            name="inversion path",
            status="pass" if value > LOWEST_PATH else "warn",
            value=value,
            unit="kJ/mol",
            threshold=f"> {LOWEST_PATH:.3g}",
            meaning=f"Rise of the energy when {worst['bead']} goes through the plane of {centre} and its other "
            "neighbours, all else at rest. No frame of the reference lies there: the network only guesses, and the "
            "free-energy barrier is lower than this.",
            remedy="Hold the hand with a signed improper ('prior.impropers: harmonic'); measure the barrier with "
            "'evaluation.inversion_barrier: {}'.",
        )
    ]


def _check_barriers(probes: dict[str, Any], system: dict[str, Any]) -> list[Check]:
    barriers = [
        (centre, entry) for entries in probes["inversion_barrier"].values() for centre, entry in entries.items()
    ]
    if not barriers:
        return []
    temperature, time = system["temperature_set"]["value"], system["length"]["value"]
    centre, worst = min(barriers, key=lambda item: item[1]["barrier"]["value"])
    value, needed = worst["barrier"]["value"], compute_required_barrier(time, temperature)
    status: Status = "pass" if value >= needed else "fail" if worst["is_crossed"] else "warn"
    waiting = describe_time(compute_waiting_time(value, temperature))
    bound = "" if worst["is_crossed"] else " Not all runs crossed it: it is a lower bound."
    return [
        Check(
            name="inversion barrier",
            status=status,
            value=value,
            unit="kJ/mol",
            threshold=f">= {needed:.3g}",
            meaning=f"Free-energy barrier of {centre} by metadynamics: one inversion in {waiting} by transition-state "
            f"theory. The limit is that of 20 times the simulated {describe_time(time)}.{bound}",
            remedy="Hold the hand with a signed improper ('prior.impropers: harmonic'); where the barrier is only a "
            "lower bound, raise 'evaluation.inversion_barrier.duration'.",
        )
    ]


def describe_time(picoseconds: float) -> str:
    """Return a time in the unit that suits it: ``"2.07 s"``."""
    for unit, size in (("years", 3.156e19), ("days", 8.64e16), ("s", 1e12), ("ms", 1e9), ("µs", 1e6), ("ns", 1e3)):
        if picoseconds >= size:
            return f"{picoseconds / size:.3g} {unit}"
    return f"{picoseconds:.3g} ps"
