"""The program `gmx`: where it is, which version, how it is run, and what its errors mean.

Every call works in a folder of its own inside the run folder and leaves all that it prints there.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from beadsmith.errors import InputError, PhysicsError
from beadsmith.sampling.settings import SamplingSettings

PARAMETERS, STRUCTURE, TOPOLOGY, RUN_INPUT = "run.mdp", "start.gro", "topol.top", "run.tpr"
CHECKPOINT, NEXT_CHECKPOINT, FRAMES = "start.cpt", "end.cpt", "frames"

SECONDS_PER_ATOM_STEP = 1.0e-6
"""Time of a step on one thread for each atom: 0.76 ms for 768 atoms."""

_GROMPP_LOG, _MDRUN_LOG = "grompp.log", "mdrun.log"

_VERSION = re.compile(r"GROMACS version:\s*(\S+)")

_REASON = re.compile(
    r"(?:Fatal error|Error in user input|Inconsistency in user input|Feature not implemented|Internal error \(bug\)"
    r"|Input/output error|File input/output error|Range checking error):\n(.*?)\n\s*(?:For more information|-{20})",
    re.DOTALL,
)

_NOTICE = re.compile(r"^(?:ERROR|WARNING) \d+ \[.*?\]:\n((?:[ \t]+\S.*\n)+)", re.MULTILINE)

_DIVERGED = ("lincs", "not finite", "extremely high", "infinite", "settle", "atom jumped")

_SHRUNK = (
    "shortest box vector",
    "shorter than twice the cut-off",
    "smaller than the cut-off",
    "smaller than twice the cut-off",
)

_LONGEST = 400
"""Most characters of GROMACS's own words in a message."""


@dataclass(frozen=True, kw_only=True)
class Gromacs:
    """One installed GROMACS."""

    path: str
    """Where `gmx` is."""
    version: str
    """Its version."""


def find_gromacs() -> Gromacs | None:
    """Return the first `gmx` on the path, or None if there is none that runs."""
    path = shutil.which("gmx")
    if path is None:
        return None
    try:
        shown = subprocess.run([path, "--version"], capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = _VERSION.search(shown.stdout)
    return None if found is None else Gromacs(path=path, version=found.group(1))


def require_gromacs() -> Gromacs:
    """Return the first `gmx` on the path.

    Raises
    ------
    InputError : there is none, or it does not run.
    """
    if (found := find_gromacs()) is not None:
        return found
    path = shutil.which("gmx")
    raise InputError(
        "engine is gromacs, but no program 'gmx' is on the path"
        if path is None
        else f"engine is gromacs, but '{path}' does not run: 'gmx --version' shows no version",
        fix="Install GROMACS (on Debian 'apt install gromacs') or put its 'gmx' on the path, or use engine: openmm.",
    )


def describe_engine(settings: SamplingSettings) -> str:
    """Return which program will move the atoms, and whether it is here."""
    if settings.engine == "openmm":
        return "atoms move with OpenMM"
    if (found := find_gromacs()) is None:
        return "warning: sampling.engine is gromacs, but no program 'gmx' runs on this machine"
    return f"atoms move with GROMACS {found.version} ({found.path}); forces, energies and virials by OpenMM"


def list_mdrun_arguments(*, threads: int, has_checkpoint: bool) -> list[str]:
    """Return the arguments of `gmx` that run a prepared folder.

    Parameters
    ----------
    threads : OpenMP threads; there is one rank, so that results depend on nothing but this number.
    has_checkpoint : Whether the run goes on from a checkpoint.
    """
    arguments = ["mdrun", "-s", RUN_INPUT, "-o", f"{FRAMES}.trr", "-cpo", NEXT_CHECKPOINT, "-g", "md.log"]
    arguments += ["-e", "energy.edr", "-c", "end.gro", "-ntmpi", "1", "-ntomp", str(threads)]
    # threads stay unpinned: other runs on this machine would be pinned to the same cores
    arguments += ["-pin", "off", "-notunepme", "-reprod"]
    return arguments + (["-cpi", CHECKPOINT, "-noappend"] if has_checkpoint else [])


def prepare_run(gromacs: Gromacs, folder: Path) -> None:
    """Turn parameters, structure and topology of a folder into a run input with `gmx grompp`.

    Raises
    ------
    InputError : GROMACS refuses them; the message has its reason.
    """
    arguments = ["grompp", "-f", PARAMETERS, "-c", STRUCTURE, "-p", TOPOLOGY, "-o", RUN_INPUT, "-po", "used.mdp"]
    # one warning is allowed: that bonds between heavy atoms oscillate within less than five timesteps of 5 fs
    arguments += ["-maxwarn", "1"]
    log = folder / _GROMPP_LOG
    with log.open("w") as output:
        process = start(gromacs, arguments, folder, output.fileno(), threads=1)
        code = process.wait()
    if code != 0:
        reason = explain(log.read_text(errors="replace"))
        fix = "Use more molecules or a shorter sampling.cutoff." if _is_about(reason, _SHRUNK) else None
        raise InputError(f"gmx grompp refused the run: {reason}", where=str(log), fix=fix)


def run_dynamics(
    gromacs: Gromacs,
    folder: Path,
    *,
    threads: int,
    has_checkpoint: bool,
    watch: Callable[["subprocess.Popen[bytes]"], None],
) -> Path:
    """Do the dynamics of a prepared folder with `gmx mdrun` and return its trajectory.

    Parameters
    ----------
    gromacs : The program.
    folder : Folder that `prepare_run` has prepared.
    threads : Number of threads.
    has_checkpoint : Whether the run goes on from the folder's checkpoint.
    watch : Receives the running process and returns when it has ended.

    Raises
    ------
    PhysicsError : the dynamics diverged, or the box shrank below twice the cutoff.
    InputError : GROMACS ended for another reason.
    """
    log = folder / _MDRUN_LOG
    with log.open("w") as output:
        arguments = list_mdrun_arguments(threads=threads, has_checkpoint=has_checkpoint)
        process = start(gromacs, arguments, folder, output.fileno(), threads=threads)
        watch(process)
    if process.returncode != 0:
        reason = explain(log.read_text(errors="replace"))
        what = f"gmx mdrun ended with exit code {process.returncode}: {reason}"
        if _is_about(reason, _SHRUNK):
            fix = "Use more molecules or a shorter cutoff."
            raise PhysicsError(f"the box shrank below twice the cutoff; {what}", where=str(log), fix=fix)
        if _is_about(reason, _DIVERGED):
            fix = "Use a shorter timestep, and check that the density is that of the liquid."
            raise PhysicsError(f"the atomistic run diverged; {what}", where=str(log), fix=fix)
        raise InputError(what, where=str(log), fix="Repeat the command: it goes on from the last checkpoint.")
    # a continued run numbers its files
    return next(folder.glob(f"{FRAMES}*.trr"))


def start(
    gromacs: Gromacs, arguments: list[str], folder: Path, output: int, *, threads: int
) -> "subprocess.Popen[bytes]":
    """Start `gmx` in a folder; all that it prints goes to one file.

    Raises
    ------
    InputError : the program cannot be started.
    """
    try:
        return subprocess.Popen(
            [gromacs.path, "-nobackup", *arguments],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # another number there than on the command line is an error of mdrun
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
            # an interruption from the keyboard is for the run alone, which then ends its programs
            start_new_session=True,
        )
    except OSError as error:
        raise InputError(f"'{gromacs.path}' cannot be started: {error.strerror}", fix="Reinstall GROMACS.") from error


def explain(printed: str) -> str:
    """Return GROMACS's reason for an error in one paragraph: what it says of its input, else its fatal error."""
    reasons = [match.group(1) for match in _NOTICE.finditer(printed)] + _REASON.findall(printed)
    if not reasons:
        reasons = [" ".join(printed.strip().splitlines()[-3:]) or "it printed nothing"]
    text = " ".join(" ".join(reasons).split())
    return text if len(text) <= _LONGEST else text[:_LONGEST].rsplit(" ", 1)[0] + " ..."


def _is_about(reason: str, words: tuple[str, ...]) -> bool:
    return any(word in reason.lower() for word in words)
