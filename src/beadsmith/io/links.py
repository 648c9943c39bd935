"""Files that belong to several folders at once, as hard links: they take no space."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path


def link_tree(source: Path, target: Path) -> None:
    """Put a file, or a folder with all its files, under another path in place of what is there; it appears whole.

    Where the file system has no hard links, or the paths lie on different ones, they are copies.
    """
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    _delete(temporary)
    for file in _list_files(source):
        place = temporary / file.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        _link(file, place)
    _delete(target)
    os.replace(temporary, target)


def _list_files(path: Path) -> Iterator[Path]:
    return (entry for entry in path.rglob("*") if entry.is_file()) if path.is_dir() else iter([path])


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
