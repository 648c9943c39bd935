"""First configurations that 'beadsmith init' writes: one per kind of system, every key explained."""

from dataclasses import dataclass, field
from typing import Any

from beadsmith.config.describe import write_commented_yaml
from beadsmith.config.settings import RunSettings, StateSettings
from beadsmith.errors import InputError
from beadsmith.importing.settings import ReferenceSettings
from beadsmith.mapping.settings import MappingSettings
from beadsmith.sampling.peptides import PeptideSettings
from beadsmith.sampling.settings import SamplingSettings
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
    name: str
    """Name of the run."""
    system: SystemSettings | PeptideSettings | None = None
    """What is sampled."""
    reference: ReferenceSettings | None = None
    """What is imported instead."""
    temperature: float
    """Temperature [K]."""
    density: float | None = None
    """Density [g/cm³]."""
    others: dict[str, Any] = field(default_factory=dict)
    """Sections that differ from their defaults."""


def _molecules(**counts: int) -> SystemSettings:
    return SystemSettings(molecules=tuple(MoleculeCount(name=name, count=count) for name, count in counts.items()))


TEMPLATES = {
    "liquid": Template(
        title="A pure liquid in a box of fixed density: liquid methanol, one bead per molecule.",
        name="methanol",
        system=_molecules(methanol=256),
        temperature=300.0,
        density=0.75,
    ),
    "mixture": Template(
        title="A liquid mixture in a box of fixed density: methanol and benzene, one bead per molecule.",
        name="methanol_benzene",
        system=_molecules(methanol=160, benzene=80),
        temperature=300.0,
        density=0.82,
    ),
    "alanine": Template(
        title="A peptide in implicit water: capped alanine, six beads that keep its handedness.",
        name="alanine",
        system=PeptideSettings(sequence="ACE-ALA-NME"),
        temperature=300.0,
        others={
            "sampling": SamplingSettings(replicas=2, equilibration=50.0, duration=1000.0, save_interval=0.1),
            "mapping": MappingSettings(beads="backbone_cb"),
        },
    ),
    "import": Template(
        title="Your own simulation: trajectory files with forces, of GROMACS, LAMMPS, AMBER and others.",
        name="imported",
        reference=ReferenceSettings(files=("traj.trr",), topology="topol.tpr"),
        temperature=300.0,
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
    density = None if template.density is None else template.density * GRAM_PER_CUBIC_CENTIMETRE
    settings = RunSettings(
        name=template.name,
        system=template.system,
        reference=template.reference,
        state=StateSettings(temperature=template.temperature, density=density),
        **template.others,
    )
    return template.name, write_commented_yaml(settings, _HEADER.format(title=template.title, name=template.name))
