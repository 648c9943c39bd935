"""Do molecules stay what they are, and does nothing run away? Checks of bonds, contacts and heat in a simulation."""

from typing import Any

from beadsmith.check import Check, Status

SWITCH_RATE = 1e-3
"""Share of bonds that switch partners in a nanosecond which fails; fewer warn, none passes."""

HOTTEST = 2.0
"""Kinetic temperature of any frame over its target, unless chance makes more likely (few beads)."""

CLOSEST_CONTACT = 0.8
"""Closest contact over the distance that one in 10,000 contacts of the reference falls below."""

_PICOSECONDS_PER_NANOSECOND = 1000.0


def check_stability(evaluation: dict[str, Any], name: str) -> list[Check]:
    """Return the checks of bonds, contacts and heat of one simulation, as far as it has them.

    Parameters
    ----------
    evaluation : What `evaluate` returned.
    name : Simulation to judge.
    """
    system, reference = evaluation["systems"][name], evaluation["systems"]["reference"]
    checks = _check_heat(system)
    bonds, expected = system.get("bond_identity"), reference.get("bond_identity")
    if bonds is not None and expected is not None:
        checks += [_check_bonds(bonds), *_check_contacts(bonds, expected)]
    return checks


def _check_heat(system: dict[str, Any]) -> list[Check]:
    found = system.get("hottest_frame")
    # constant energy: the temperature follows from the start and is not held
    if found is None or system.get("integrator") == "verlet":
        return []
    limit = max(HOTTEST * system["temperature_set"]["value"], found["by_chance"]["value"])
    return [
        Check(
            name="hottest frame",
            status="pass" if found["value"] <= limit else "fail",
            value=found["value"],
            unit="K",
            threshold=f"<= {limit:.4g}",
            meaning=f"Highest kinetic temperature of any frame, after {found['time']['value']:.4g} ps. A frame at "
            "twice the target, or beyond what chance makes of few beads, begins to blow up.",
            remedy="Give molecules bonds in the prior ('prior.bonds: harmonic'), use 'prior.repulsion', a longer "
            "'network.cutoff' with 20 neighbours or more, or a shorter 'simulation.timestep'.",
        )
    ]


def _check_bonds(bonds: dict[str, Any]) -> Check:
    switched, length = bonds["switched"]["value"], bonds["length"]["value"] / _PICOSECONDS_PER_NANOSECOND
    rate = switched / length if length > 0.0 else switched
    status: Status = "pass" if switched == 0.0 else "fail" if rate > SWITCH_RATE else "warn"
    first = bonds["first_switch"]["value"]
    when = "" if first is None else f" The first did after {first:.4g} ps."
    return Check(
        name="switched bonds",
        status=status,
        value=switched,
        unit="1",
        threshold="0",
        meaning=f"Share of the {bonds['n_bonds']} bonds that were seen at least 6 standard deviations off while a "
        "stranger took the partner's place, which radial distribution functions do not show." + when,
        remedy="Hold bonds by index ('prior.bonds: harmonic'), tell the network which beads are bonded "
        "('network.pair_classes: true'), or choose beads whose bonds are shorter than their contacts.",
    )


def _check_contacts(bonds: dict[str, Any], expected: dict[str, Any]) -> list[Check]:
    regular = {kind: entry["value"] for kind, entry in expected["regular_contact"].items()}
    closest = {kind: entry["value"] for kind, entry in bonds["closest_contact"].items() if kind in regular}
    if not closest:
        return []
    kind = min(closest, key=lambda kind: closest[kind] / regular[kind])
    limit = CLOSEST_CONTACT * regular[kind]
    which = f" The worst of {len(closest)} kinds is {kind}." if len(closest) > 1 else ""
    return [
        Check(
            name="closest contact",
            status="pass" if closest[kind] >= limit else "fail",
            value=closest[kind],
            unit="nm",
            threshold=f">= {limit:.3f}",
            meaning="Smallest distance in any frame of two beads more than two bonds apart, within molecules too; the "
            f"limit is 0.8 of the distance that one in 10,000 contacts of the reference falls below.{which}",
            remedy="Use 'prior.repulsion', lower 'prior.exclusions' so that it acts within molecules, or take a "
            "shorter 'simulation.timestep'.",
        )
    ]
