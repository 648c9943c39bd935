"""What the machine offers and what is known to get in the way."""

import os
import platform
import shutil
from pathlib import Path

from beadsmith.machine import count_cores
from beadsmith.pipeline.record import collect_versions

_LITTLE_MEMORY = 4e9
_LITTLE_DISK = 2e9


def inspect_machine() -> dict[str, str]:
    """Return versions and resources by name; every OpenMM platform computes one energy."""
    import torch

    from beadsmith.cli.tables import format_size
    from beadsmith.sampling.gromacs.program import find_gromacs
    from beadsmith.sampling.platforms import check_platforms

    found = {"python": platform.python_version(), "system": platform.platform()}
    found |= collect_versions()
    found |= {f"OpenMM platform {name}": verdict for name, verdict in check_platforms().items()}
    gromacs = find_gromacs()
    found["GROMACS"] = "none on the path (optional)" if gromacs is None else f"{gromacs.version} ({gromacs.path})"
    found["processor cores"] = f"{count_cores()} usable of {os.cpu_count()}"
    found["torch threads"] = str(torch.get_num_threads())
    found["GPU"] = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none that torch can use"
    memory = find_memory()
    found["free memory"] = "unknown" if memory is None else format_size(memory)
    found["free disk here"] = format_size(shutil.disk_usage(Path.cwd()).free)
    return found


def find_problems() -> list[str]:
    """Return known traps that this machine or environment sets, each with what to do."""
    import torch

    problems = []
    from beadsmith.sampling.platforms import check_platforms

    if "works" not in check_platforms().values():
        problems.append("OpenMM has no usable platform: reinstall it with 'pip install --force-reinstall openmm'.")
    if torch.get_num_threads() > count_cores():
        problems.append(
            f"torch would use {torch.get_num_threads()} threads on {count_cores()} cores, which slows it down: set "
            f"OMP_NUM_THREADS={count_cores()}."
        )
    if os.environ.get("OMP_NUM_THREADS") == "1" and count_cores() > 1:
        problems.append("OMP_NUM_THREADS=1 leaves torch a single thread: unset it to use all cores.")
    if (memory := find_memory()) is not None and memory < _LITTLE_MEMORY:
        problems.append("less than 4 GB of memory are free: lower training.pair_memory for large systems.")
    if shutil.disk_usage(Path.cwd()).free < _LITTLE_DISK:
        problems.append("less than 2 GB of disk are free here: put run folders elsewhere with '--output'.")
    if not os.access(Path.cwd(), os.W_OK):
        problems.append("the current folder cannot be written to: change it, or use '--output'.")
    if os.environ.get("OPENMM_CPU_THREADS"):
        problems.append("OPENMM_CPU_THREADS is set and limits the sampling, unless sampling.threads is given.")
    return problems


def find_memory() -> float | None:
    """Return the free memory in bytes, or None where the system does not tell."""
    try:
        return float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (ValueError, OSError, AttributeError):
        return None
