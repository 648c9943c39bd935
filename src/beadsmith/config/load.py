"""Read a configuration file into settings and hold its sections against each other."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from beadsmith.config.build import build_settings, locate
from beadsmith.config.consistency import check_consistency
from beadsmith.config.describe import to_document
from beadsmith.config.document import Node, parse_document, read_document, set_value
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


def complete_document(document: dict[str, Any]) -> dict[str, Any]:
    """Return plain data that `to_document` wrote, perhaps in an earlier version, with defaults for the keys it lacks.

    Raises
    ------
    InputError : it is no configuration of this version.
    """
    root = parse_document(yaml.safe_dump(document), name="the configuration of the run")
    if root is None:
        raise InputError("the configuration is empty")
    return to_document(build_config(root))
