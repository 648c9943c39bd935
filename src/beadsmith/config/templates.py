"""First configurations that 'beadsmith init' writes: one per kind of system, every key explained."""

from dataclasses import dataclass

from beadsmith.config.describe import write_commented_yaml
from beadsmith.config.settings import RunSettings, StateSettings
from beadsmith.errors import InputError
from beadsmith.sampling.systems import MoleculeCount, SystemSettings
from beadsmith.units import GRAM_PER_CUBIC_CENTIMETRE

_HEADER = """{title}

Check it:  beadsmith check {name}.yaml
Run it:    beadsmith run {name}.yaml

Every value with a dimension has its unit beside it (nm, angstrom, fs, ps, K, g/cm^3, bar, ...).
Lines that begin with '# key:' show a default; delete the '# ' to change it."""


@dataclass(frozen=True, kw_only=True)
class Template:
    """A kind of system to begin with."""

    title: str
    """One line for a list."""
    molecules: tuple[tuple[str, int], ...]
    """Names and counts."""
    temperature: float
    """Temperature [K]."""
    density: float
    """Density [g/cm³]."""


TEMPLATES = {
    "liquid": Template(
        title="A pure liquid in a box of fixed density: liquid methanol, one bead per molecule.",
        molecules=(("methanol", 256),),
        temperature=300.0,
        density=0.75,
    ),
    "mixture": Template(
        title="A liquid mixture in a box of fixed density: methanol and benzene, one bead per molecule.",
        molecules=(("methanol", 160), ("benzene", 80)),
        temperature=300.0,
        density=0.82,
    ),
}
"""The templates by kind."""


def write_template(kind: str) -> tuple[str, str]:
    """Return the name of the run and the commented YAML text of a kind of system.

    Raises
    ------
    InputError : there is no such kind.
    """
    if kind not in TEMPLATES:
        raise InputError(f"there is no template '{kind}'", fix=f"Templates: {', '.join(TEMPLATES)}.")
    template = TEMPLATES[kind]
    name = "_".join(molecule for molecule, _ in template.molecules)
    settings = RunSettings(
        name=name,
        system=SystemSettings(molecules=tuple(MoleculeCount(name=m, count=n) for m, n in template.molecules)),
        state=StateSettings(temperature=template.temperature, density=template.density * GRAM_PER_CUBIC_CENTIMETRE),
    )
    return name, write_commented_yaml(settings, _HEADER.format(title=template.title, name=name))
