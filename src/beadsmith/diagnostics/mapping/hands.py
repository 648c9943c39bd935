"""Would a force field know a molecule from its mirror image? Verdicts on hands, lost stereocentres and inversion."""

from dataclasses import dataclass, replace

from beadsmith.analysis.mirror_images import Asymmetry
from beadsmith.analysis.stereocentres import LEAST_DEVIATIONS, CentreMeasurement
from beadsmith.check import Check, Status
from beadsmith.diagnostics.mapping.knowledge import (
    CORRECTION,
    DIHEDRAL_PRIOR,
    IMPROPER_PRIOR,
    ROTATIONS,
    ROTATIONS_ONLY,
    ModelKnowledge,
)
from beadsmith.diagnostics.mapping.molecules import MoleculeSurvey
from beadsmith.diagnostics.mapping.verdict import MappingVerdict

ASYMMETRY = (0.01, 0.05)
"""Jensen-Shannon divergence of a distribution and its reflection that counts as none, and as a hand [nat]."""

CHANCE = (2.0, 3.0)
"""Multiples of what a molecule without a hand would show by chance, for the same two."""

_ONE_HANDED = 0.9
"""|fraction of positive minus fraction of negative impropers| from which a centre counts as having a hand."""

_FEWEST_BEADS = 4


@dataclass(frozen=True, kw_only=True)
class _Hand:
    """What the distributions of one molecule say about its hand."""

    molecule: MoleculeSurvey
    status: Status
    value: float
    what: str
    is_known: bool


def check_hands(molecules: tuple[MoleculeSurvey, ...], model: ModelKnowledge) -> list[MappingVerdict]:
    """Return the verdicts on hands; none where no molecule has the four beads that a hand takes."""
    has_centres = any(entry.n_stereocentres or not entry.has_atoms for entry in molecules)
    looked_at = [entry for entry in molecules if len(entry.beads) >= _FEWEST_BEADS and entry.asymmetries]
    hands = [_look(entry, has_centres=has_centres) for entry in looked_at]
    verdicts = [_judge_hand(hands, model)] if hands else []
    verdicts += _judge_lost(molecules, hands, model)
    return [*verdicts, *_judge_inversion(molecules, model)]


def locked_centres(molecule: MoleculeSurvey) -> list[str]:
    """Return the beads whose signed improper keeps its sign, far from planarity, in all frames."""
    return [name for name, centre in molecule.centres.items() if centre.is_locked]


def _look(molecule: MoleculeSurvey, *, has_centres: bool) -> _Hand:
    """Return the verdict on one map alone, from its most asymmetric distribution.

    Where no atom of the whole system is a stereocentre, too short a run explains an asymmetry better than a hand.
    """
    worst = molecule.asymmetries[0]
    has_hand, is_known = _has_hand(worst)
    if not has_centres:
        is_known = not has_hand
    is_locked = bool(locked_centres(molecule))
    status: Status = "pass" if is_known else "warn"
    if has_centres and has_hand is not False:
        status = "pass" if is_locked else "fail" if has_hand else "warn"
    return _Hand(molecule=molecule, status=status, value=worst.divergence.value, what=worst.label, is_known=is_known)


def _has_hand(asymmetry: Asymmetry) -> tuple[bool | None, bool]:
    """Return whether a distribution has a hand (None: a little), and whether the data can tell."""
    value, chance = asymmetry.divergence.value, asymmetry.chance or 0.0
    none, sure = (max(limit, factor * chance) for limit, factor in zip(ASYMMETRY, CHANCE, strict=True))
    if value > sure:
        return True, True
    # what chance alone makes is as large as a hand would be
    is_known = none <= ASYMMETRY[1]
    return (False if value <= none else None), is_known


def _judge_hand(hands: list[_Hand], model: ModelKnowledge) -> MappingVerdict:
    order = ("pass", "warn", "fail")
    worst = max(hands, key=lambda hand: (order.index(hand.status), hand.value))
    locked = locked_centres(worst.molecule)
    meaning = (
        f"Divergence of the distribution of {worst.what} from its reflection: 0 for molecules without a hand, "
        "0.69 for those that never look like their mirror image. Energies of distances and angles are the same for both"
    )
    if not worst.is_known:
        meaning += ". Too few frames, in which molecules have not turned over often enough, explain it as well."
    elif locked and worst.value > ASYMMETRY[1]:
        meaning += f"; here the beads around {locked[0]} keep them apart."
    else:
        meaning += ", so a simulation shows both in equal parts."
    switches = [*_list_switches(model), f"{CORRECTION} in these dihedrals"]
    remedy = f"Use {' or '.join(switches)}; or keep the beads that carry the hand, such as mapping.beads: backbone_cb."
    if not worst.is_known:
        remedy = f"Sample longer; if it stays, the molecule has a hand. {remedy}"
    check = Check(
        name="hand of the molecules",
        status=worst.status,
        value=worst.value,
        unit="nat",
        threshold=f"<= {ASYMMETRY[0]:g}, or beads that hold a stereocentre; > {ASYMMETRY[1]:g} fails",
        meaning=meaning,
        remedy=remedy,
    )
    return _cure_hand(check, worst, model)


def _cure_hand(check: Check, hand: _Hand, model: ModelKnowledge) -> MappingVerdict:
    """Return the verdict on the hand of one molecule with what the force field knows of it."""
    alone = check.status
    if alone == "pass" or not hand.is_known:
        return MappingVerdict(check=check, map_alone=alone)
    status, cures = _see_hand(hand, model)
    meaning = check.meaning
    if model.sees_hands:
        # what can be told apart must still be learned, from frames of one hand alone
        meaning += " This network can tell them apart"
        if not model.finds_hands:
            meaning += ", but its shape makes little of it"
        meaning += "; whether it learns to, a simulation shows."
    elif status == "warn":
        meaning += (
            " The odd terms of the prior tell them apart, one dihedral at a time; the network adds only what both "
            "hands share."
        )
    return MappingVerdict(
        check=replace(check, status=alone if status is None else status, meaning=meaning), map_alone=alone, cures=cures
    )


def _see_hand(hand: _Hand, model: ModelKnowledge) -> tuple[Status | None, tuple[str, ...]]:
    """Return how well a force field knows a hand (None: not at all), and by which of its settings.

    SO(3) sees all, well if its shape allows; a correction its own coordinates; sine terms one dihedral at a time.
    """
    if model.finds_hands:
        return "pass", (ROTATIONS_ONLY,)
    if set(_dihedrals(hand)) <= set(model.corrected):
        return "pass", (f"{CORRECTION} in {', '.join(_dihedrals(hand))}",)
    has_impropers = model.has_signed_impropers and hand.molecule.has_impropers
    known = ((model.sees_hands, ROTATIONS), (model.has_sine_prior, DIHEDRAL_PRIOR), (has_impropers, IMPROPER_PRIOR))
    cures = tuple(name for is_set, name in known if is_set)
    return ("warn" if cures else None), cures


def _list_switches(model: ModelKnowledge) -> list[str]:
    """Return the settings that tell hands apart and are not set already."""
    known = ((model.finds_hands, ROTATIONS_ONLY), (model.has_sine_prior, f"{DIHEDRAL_PRIOR} with its sine terms"))
    return [name for is_set, name in known if not is_set]


def _dihedrals(hand: _Hand) -> list[str]:
    """Return the names under which a correction knows the coordinates: phi is that of every residue."""
    return [name.split(" ")[0] if name.startswith(("phi", "psi")) else name for name in hand.what.split(", ")]


def _judge_lost(
    molecules: tuple[MoleculeSurvey, ...], hands: list[_Hand], model: ModelKnowledge
) -> list[MappingVerdict]:
    """Return the verdict on stereocentres of the atoms whose hand no bead shows."""
    known = [entry for entry in molecules if entry.has_atoms and len(entry.beads) > 1]
    if not known:
        return []
    asymmetric = {id(hand.molecule): hand for hand in hands if hand.value > ASYMMETRY[0] or not hand.is_known}
    lost = [entry for entry in known if entry.lost]
    hidden = [entry for entry in lost if not locked_centres(entry) and id(entry) in asymmetric]
    names = [name for entry in hidden or lost for name in entry.lost]
    switches = " or ".join(_list_switches(model))
    known_by = f", or let the force field know the hand by {switches}" if switches else ""
    shown = f" Here: {', '.join(names[:6])}{' and more' if len(names) > 6 else ''}." if names else ""
    check = Check(
        name="lost stereocentres",
        status="warn" if hidden else "pass",
        value=float(sum(len(entry.lost) for entry in known)),
        unit="1",
        threshold="0, or another stereocentre that the beads show, or no trace of a hand",
        meaning="Stereocentres of the atoms with fewer than three of their four branches among the bonded beads: the "
        f"beads do not show their hand.{shown}",
        remedy=f"Keep a bead in a third branch of the centre, for example mapping.beads: backbone_cb{known_by}.",
    )
    seen = [_see_hand(asymmetric[id(entry)], model) for entry in hidden]
    if all(status is not None for status, _ in seen):
        cures = tuple(dict.fromkeys(name for _, names in seen for name in names))
        is_cured = all(status == "pass" for status, _ in seen)
        return [
            MappingVerdict(
                check=replace(check, status="pass" if is_cured else "warn"), map_alone=check.status, cures=cures
            )
        ]
    return [MappingVerdict(check=check, map_alone=check.status)]


def _judge_inversion(molecules: tuple[MoleculeSurvey, ...], model: ModelKnowledge) -> list[MappingVerdict]:
    """Return the verdict on the stereocentres that the beads show: does the reference ever come near to inverting?

    A harmonic prior on the signed improper keeps it from inverting; SO(3) only lets the two hands have two energies.
    """
    centres = [
        (name, centre, name in entry.with_improper)
        for entry in molecules
        for name, centre in entry.centres.items()
        if centre.is_locked or _is_one_handed(centre)
    ]
    if not centres:
        return []
    # held centres last: of those that are loose, the ones that nothing holds count
    name, worst, has_improper = min(
        centres, key=lambda item: (item[1].is_locked, item[2] and model.holds_impropers, _deviations(item[1]))
    )
    check = Check(
        name="inversion",
        status="pass" if worst.is_locked else "warn",
        value=_deviations(worst),
        unit="1",
        threshold=f"> {LEAST_DEVIATIONS:g}, and no change of sign",
        meaning=f"Distance of the signed improper at {name} from planarity, in its standard deviations; its sign "
        f"changed {worst.n_flips} times. Where the reference never inverts, the barrier between hands is extrapolated.",
        remedy=_suggest_improper(model, has_improper=has_improper),
    )
    if check.status == "pass":
        return [MappingVerdict(check=check, map_alone="pass")]
    if has_improper and model.holds_impropers:
        return [MappingVerdict(check=replace(check, status="pass"), map_alone=check.status, cures=(IMPROPER_PRIOR,))]
    cures = (ROTATIONS,) if model.sees_hands else ()
    return [MappingVerdict(check=check, map_alone=check.status, cures=cures)]


def _suggest_improper(model: ModelKnowledge, *, has_improper: bool) -> str:
    """Return what holds the sign of a centre, less what is set already."""
    name = "" if has_improper else "Name an improper for the centre in mapping.definitions"
    if model.holds_impropers:
        held = (
            f"{name}: {IMPROPER_PRIOR} then holds its sign" if name else f"Keep {IMPROPER_PRIOR}, which holds its sign"
        )
    else:
        held = f"{f'{name} and set' if name else 'Set'} {IMPROPER_PRIOR}, which holds its sign"
    return f"{held}." if model.finds_hands else f"{held}, or use {ROTATIONS_ONLY}."


def _is_one_handed(centre: CentreMeasurement) -> bool:
    return abs(2.0 * centre.positive.value - 1.0) > _ONE_HANDED


def _deviations(centre: CentreMeasurement) -> float:
    return centre.distance / max(centre.deviation, 1e-6)
