"""What must fit between the sections of a configuration, checked before anything is computed.

Errors name the setting in `where`; `load_config` turns that into file and line.
"""

from beadsmith.config.settings import RunSettings
from beadsmith.errors import InputError
from beadsmith.sampling.peptides import PeptideSettings
from beadsmith.sampling.starts import check_state
from beadsmith.sampling.systems import SystemSettings, box_edge, check_box

MIN_FRAMES = 20
"""Fewer saved frames cannot be divided into training, validation and test frames."""

_MIN_TEMPERATURE, _MAX_TEMPERATURE = 10.0, 3000.0


def check_consistency(settings: RunSettings) -> None:
    """Hold the sections against each other.

    Raises
    ------
    InputError : a cutoff does not fit into the box, a run is too short for what is measured on it, or a value is far
        from any liquid.
    """
    _check_state(settings)
    # of an imported reference only its files know box and frames
    if settings.system is not None:
        _check_sampling(settings)
        _check_frames(settings)
    if isinstance(settings.system, SystemSettings):
        _check_cutoffs(settings.system, settings)
    _check_simulation(settings)
    _check_inversion(settings)
    _check_exclusions(settings)
    if settings.training.epochs == 0 and settings.start_from is None:
        raise InputError(
            "'training.epochs' is 0, expected >= 1 unless training goes on from a force field",
            where="training.epochs",
            fix="Give the force field with 'train --from', or train for at least one epoch.",
        )
    if settings.mean_force is not None:
        _check_mean_force(settings)
    if settings.training.thermal != "none" and settings.trained_in is None:
        _check_thermal(settings)
    _check_pressure(settings)
    if settings.ensemble is not None:
        _check_ensemble(settings)


def _check_exclusions(settings: RunSettings) -> None:
    """Refuse a network that leaves to the prior what the prior does not have."""
    if settings.network is None:
        return
    exclusions, prior = settings.network.exclusions, settings.prior
    for n_bonds, name in ((1, "bonds"), (2, "angles")):
        if exclusions >= n_bonds and getattr(prior, name) == "none":
            raise InputError(
                f"'network.exclusions' is {exclusions}, but 'prior.{name}' is none: nothing would hold the {name}",
                where="network.exclusions",
                fix=f"Set prior.{name} to harmonic, or network.exclusions to {n_bonds - 1}.",
            )


def _check_mean_force(settings: RunSettings) -> None:
    """Refuse averaged labels where there are no atoms to simulate, or beads that are not at fixed places of them."""
    where = "mean_force"
    if settings.system is None:
        raise InputError(
            "'mean_force' needs the interactions of the atoms, which an imported reference has not",
            where=where,
            fix="Leave it out, or sample the reference with beadsmith ('system').",
        )
    if settings.mapping.noise_width is not None:
        raise InputError(
            "'mean_force' holds beads at C r, but 'mapping.noise_width' puts noise on them",
            where=where,
            fix="Leave one of them out.",
        )
    if isinstance(settings.system, PeptideSettings) and settings.system.is_periodic and settings.system.save != "all":
        raise InputError(
            "'mean_force' starts from frames of all atoms, but 'system.save' is solute",
            where=where,
            fix="Sample with 'save: all', and name water and ions under mapping.omit.",
        )


def _check_thermal(settings: RunSettings) -> None:
    """Refuse a dependence on temperature that the data of this configuration cannot show."""
    training, where = settings.training, "training.thermal"
    if settings.network is None:
        raise InputError(
            f"'training.thermal' is {training.thermal}, but pair splines do not depend on temperature",
            where=where,
            fix="Give a network, or set it to none.",
        )
    if training.correction is not None:
        raise InputError(
            f"'training.thermal' is {training.thermal}, but 'training.correction' belongs to one temperature",
            where=where,
            fix="Leave one of them out.",
        )
    if not settings.train_with and training.labels.energies == 0.0 and settings.mean_force is None:
        raise InputError(
            f"'training.thermal' is {training.thermal}, but all forces are at {settings.state.temperature:g} K",
            where=where,
            fix="Train together with runs at other temperatures: 'train_with: [runs/hot]'.",
        )


def _check_pressure(settings: RunSettings) -> None:
    """Refuse what needs a volume where there is none, and virials that nothing would be learned from."""
    asked = {
        "simulation.pressure": settings.simulation.pressure is not None,
        "training.labels.virials": settings.training.labels.virials > 0.0,
        "training.volume_term": settings.training.volume_term is not None,
    }
    if isinstance(settings.system, PeptideSettings) and not settings.system.is_periodic:
        for where, is_asked in asked.items():
            if is_asked:
                raise InputError(
                    f"'{where}' is given, but a peptide without a box of water has no volume and no pressure",
                    where=where,
                    fix="Leave it out.",
                )
    if settings.network is None and asked["training.labels.virials"]:
        raise InputError(
            "'training.labels.virials' is given, but pair splines are fitted to forces alone",
            where="training.labels.virials",
            fix="Use 'training.volume_term' for their pressure, or give a network.",
        )


def _check_ensemble(settings: RunSettings) -> None:
    """Refuse an ensemble whose members could not differ."""
    problem = None
    if settings.network is None:
        problem, fix = "pair splines have no seed", "Give a network, or leave the section out."
    elif settings.start_from is not None and settings.trained_in is None:
        problem, fix = "all would start from the weights of 'start_from'", "Train the ensemble from scratch."
    if problem is not None:
        raise InputError(
            f"'ensemble' is for networks that differ by their initial weights, but {problem}", where="ensemble", fix=fix
        )


def _check_inversion(settings: RunSettings) -> None:
    """Refuse a barrier of inversion where there is no network to ask, or not one molecule."""
    if settings.evaluation.inversion_barrier is None:
        return
    problem = None
    if settings.network is None:
        problem = "there is no network to ask"
    elif isinstance(settings.system, SystemSettings) and settings.system.n_molecules > 1:
        problem = f"the system has {settings.system.n_molecules} molecules"
    if problem is not None:
        raise InputError(
            f"'evaluation.inversion_barrier' is for a network and one molecule in open space, but {problem}",
            where="evaluation.inversion_barrier",
            fix="Set it to none; whether stereocentres flip is counted anyway.",
        )


def find_box_edge(system: SystemSettings, settings: RunSettings) -> float:
    """Return the edge of the box of a sampled system [nm]; at constant pressure that of the starting density."""
    return box_edge(system, settings.state.density or settings.sampling.initial_density)


def _check_state(settings: RunSettings) -> None:
    named = [("state.temperature", settings.state.temperature)]
    named += [("sampling.temperatures", temperature) for temperature in settings.sampling.temperatures]
    for name, temperature in named:
        if not _MIN_TEMPERATURE <= temperature <= _MAX_TEMPERATURE:
            raise InputError(
                f"'{name}' is {temperature:g} K, expected {_MIN_TEMPERATURE:g} to {_MAX_TEMPERATURE:g} K",
                where=name,
                fix="Check the unit.",
            )


def _check_sampling(settings: RunSettings) -> None:
    """Hold the state and the sampling against what is sampled."""
    assert settings.system is not None
    try:
        settings.sampling.list_temperatures(settings.state.temperature)
        check_state(settings.sampling, settings.system, settings.state.to_state_point())
    except InputError as error:
        name = error.what.split()[0]
        sections = {"temperatures": "sampling", "timestep": "sampling", "structures": "system", "engine": "sampling"}
        section = sections.get(name, "state")
        what = error.what.replace(name, f"'{section}.{name}'", 1)
        raise InputError(what, where=f"{section}.{name}", fix=error.fix) from error


def _check_cutoffs(system: SystemSettings, settings: RunSettings) -> None:
    density = settings.state.density or settings.sampling.initial_density
    try:
        check_box(system, density=density, cutoff=settings.sampling.cutoff)
    except InputError as error:
        where = "state.density" if error.what.startswith("density") else "sampling.cutoff"
        raise InputError(error.what, where=where, fix=error.fix) from error
    edge = find_box_edge(system, settings)
    cutoffs = {"prior.cutoff": settings.prior.cutoff}
    if settings.network is not None:
        cutoffs["network.cutoff"] = settings.network.cutoff
    for name, cutoff in cutoffs.items():
        if 2.0 * cutoff > edge:
            needed = system.n_molecules * (2.0 * cutoff / edge) ** 3
            raise InputError(
                f"'{name}' is {cutoff:g} nm, more than half of the box of {edge:.4g} nm that "
                f"{system.n_molecules} molecules fill",
                where=name,
                fix=f"Use at most {int(500.0 * edge) / 1000.0:g} nm, or at least {int(needed) + 1} molecules.",
            )


def _check_frames(settings: RunSettings) -> None:
    n_frames = settings.sampling.n_frames
    if n_frames < MIN_FRAMES:
        raise InputError(
            f"'sampling.duration' gives {n_frames} frames, expected at least {MIN_FRAMES} to train and test on",
            where="sampling.duration",
            fix="Sample longer, or save more often.",
        )
    if settings.evaluation.n_blocks > n_frames:
        raise InputError(
            f"'evaluation.n_blocks' is {settings.evaluation.n_blocks}, but only {n_frames} frames are sampled",
            where="evaluation.n_blocks",
        )


def _check_simulation(settings: RunSettings) -> None:
    simulation, discard = settings.simulation, settings.evaluation.discard
    n_left = settings.simulation.replicas * int((simulation.duration - discard) / simulation.save_interval + 1e-9)
    if n_left < settings.evaluation.n_blocks:
        raise InputError(
            f"'simulation.duration' is {simulation.duration:g} ps, and after 'evaluation.discard' ({discard:g} ps) "
            f"{max(n_left, 0)} frames are left, expected at least {settings.evaluation.n_blocks}",
            where="simulation.duration",
            fix="Simulate longer, save more often, or discard less.",
        )
