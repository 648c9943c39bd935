"""What training reads from outside its run folder: frames of other runs, a start, or a whole force field."""

from pathlib import Path
from typing import Any

from beadsmith.config.settings import RunSettings
from beadsmith.errors import InputError
from beadsmith.io.links import link_tree

_MAPPED, _MEAN_FORCE = "mapped.h5", "mean_force.h5"
_ENSEMBLE = "ensemble"
_REQUIRED = ("force_field", "training.json")
_OPTIONAL = ("pair_spline", "training.csv")


def list_training_inputs(settings: RunSettings) -> list[str]:
    """Return the files and folders that the training of a configuration reads from elsewhere."""
    if settings.trained_in is not None:
        return [str(path) for path in _list_results(Path(settings.trained_in))]
    start = [] if settings.start_from is None else [settings.start_from]
    return [*start, *(str(path) for entry in settings.train_with for path in find_mapped(entry))]


def list_ensemble_inputs(settings: RunSettings) -> list[str]:
    """Return the files and folders that the training of the other members of an ensemble reads from elsewhere.

    Raises
    ------
    InputError : the run folder to take them from has none.
    """
    if settings.trained_in is None:
        return list_training_inputs(settings)
    folder = Path(settings.trained_in) / _ENSEMBLE
    if not folder.is_dir():
        raise InputError(
            f"'{settings.trained_in}' holds no '{_ENSEMBLE}'",
            where="trained_in",
            fix="Train one there, with the same section 'ensemble', or leave the section out here.",
        )
    return [str(folder)]


def find_mapped(entry: str) -> list[Path]:
    """Return the mapped trajectory and the averaged labels, if any, that a run folder holds, or the file itself.

    Raises
    ------
    InputError : there is none.
    """
    folder = Path(entry)
    path = folder / _MAPPED if folder.is_dir() else folder
    if not path.is_file():
        raise InputError(f"'{path}' does not exist", where="train_with", fix=f"Run 'beadsmith map {entry}' first.")
    averaged = folder / _MEAN_FORCE
    return [path, averaged] if averaged.is_file() else [path]


def take_training(source: Path, folder: Path) -> dict[str, Any]:
    """Put the force fields and losses of another run folder into this one, and return what is said of them.

    Raises
    ------
    InputError : nothing was trained there.
    """
    for path in _list_results(source):
        link_tree(path, folder / path.name)
    return {"trained_in": str(source)}


def _list_results(source: Path) -> list[Path]:
    for name in _REQUIRED:
        if not (source / name).exists():
            raise InputError(
                f"'{source}' holds no '{name}'", where="trained_in", fix=f"Run 'beadsmith train {source}' first."
            )
    return [source / name for name in (*_REQUIRED, *_OPTIONAL) if (source / name).exists()]
