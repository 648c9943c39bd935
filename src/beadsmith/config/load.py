"""Read a configuration file into settings and hold its sections against each other."""

from collections.abc import Sequence
from pathlib import Path

from beadsmith.config.build import build_settings, locate
from beadsmith.config.consistency import check_consistency
from beadsmith.config.document import Node, read_document, set_value
from beadsmith.config.settings import RunSettings
from beadsmith.errors import InputError


def load_config(path: Path, overrides: Sequence[str] = ()) -> RunSettings:
    """Return the settings in a YAML file, with some of its values replaced.

    Parameters
    ----------
    path : YAML file.
    overrides : Replacements, each ``"a.b=c"``.

    Raises
    ------
    InputError : the file or an override cannot be used; the message names file and line, or the option.
    """
    root = read_document(path)
    if isinstance(root.value, dict) and "base" in root.value:
        raise InputError("the file describes a study", where=str(path), fix=f"Use 'beadsmith study {path}'.")
    for option in overrides:
        root = set_value(root, option)
    return build_config(root)


def build_config(root: Node) -> RunSettings:
    """Return the settings that a document describes.

    Raises
    ------
    InputError : it cannot be used; the message names file and line.
    """
    settings = build_settings(RunSettings, root)
    try:
        check_consistency(settings)
    except InputError as error:
        if error.where is None:
            raise
        # the checks know names of settings, only the document knows their lines
        raise InputError(error.what, where=locate(root, error.where), fix=error.fix) from error
    return settings
