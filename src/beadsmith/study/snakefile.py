"""Write the jobs of a study as a Snakemake workflow, one rule a job, and run it where Snakemake is installed.

Snakemake knows a job only by its record. A job that was killed has none and is started again; what it saved is not
among the outputs, so Snakemake does not delete it and the job goes on from there.
"""

import importlib.util
import math
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from beadsmith.errors import InputError
from beadsmith.io.records import write_bytes
from beadsmith.machine import count_cores
from beadsmith.pipeline.estimate import Estimate
from beadsmith.study.jobs import Job, describe_command
from beadsmith.study.record import Study

SNAKEFILE = "Snakefile"

_RETRIES = 3
_MOST_THREADS = 4
_SECTIONS = {"sample": "sampling", "train": "training", "simulate": "simulation"}
_SLACK = 3.0
"""Time that a job asks for, in units of its estimate, which may be off by a factor of two."""


def write_snakefile(
    study: Study, jobs: tuple[Job, ...], estimates: dict[str, Estimate], reuse: tuple[Path, ...] = ()
) -> Path:
    """Write the workflow into the study folder and return its path.

    Parameters
    ----------
    study, jobs : What is to be done.
    estimates : Cost of each job, for the time and memory that it asks for.
    reuse : Run folders whose results are taken where settings and files are the same.
    """
    folder = shlex.quote(str(study.folder))
    lines = [
        f"# The jobs of the study '{study.name}', written by 'beadsmith study'; what a job does stands above its rule.",
        "# Run it in the folder in which 'beadsmith study' was run:",
        f"#   snakemake --snakefile {folder}/{SNAKEFILE} --cores 4 --rerun-triggers mtime --keep-going",
        "",
        "rule all:",
        f'    input: "{study.folder}/study.html"',
        "",
        "rule report:",
        "    input:",
        *(f'        "{study.job_file(job.name)}",' for job in jobs),
        f'    output: "{study.folder}/study.html"',
        "    localrule: True",
        f'    shell: "beadsmith study {folder} --report"',
    ]
    for job in jobs:
        lines += ["", *_write_rule(study, job, estimates.get(job.name), reuse)]
    path = study.folder / SNAKEFILE
    write_bytes(path, ("\n".join(lines) + "\n").encode())
    return path


def run_snakemake(study: Study, *, cores: int, profile: str | None, stop_after: float | None, lock: int) -> bool:
    """Let Snakemake do the jobs, and return whether the time was up before they were done.

    A job that fails does not keep the others from being done; its message is in Snakemake's output.

    Parameters
    ----------
    study : What is to be done; its workflow is written.
    cores : Cores for the jobs.
    profile : Snakemake's profile, for a cluster.
    stop_after : Time after which it is stopped [s].
    lock : Descriptor of the lock of the study folder. Snakemake holds it, too: should it outlive this process, no other
        one begins beside it.

    Raises
    ------
    InputError : Snakemake is not installed.
    """
    words = [*_find_snakemake(), "--snakefile", str(study.folder / SNAKEFILE), "--cores", str(cores)]
    # its own lock would outlive a kill and refuse the next call; the study's does not
    words += ["--rerun-triggers", "mtime", "--rerun-incomplete", "--keep-going", "--nolock"]
    words += ["--profile", profile] if profile is not None else []
    # the rules call beadsmith by its name: it shall be this one
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    process = subprocess.Popen(words, env={**os.environ, "PATH": path}, pass_fds=(lock,))
    try:
        process.wait(stop_after)
        return False
    except subprocess.TimeoutExpired:
        # Snakemake passes it on to its jobs, which save and end
        process.terminate()
        process.wait()
        return True


def name_rule(job: Job) -> str:
    """Return the name of a job's rule: Snakemake takes letters, digits and '_' only."""
    return re.sub(r"[^A-Za-z0-9_]", "_", job.name)


def _find_snakemake() -> list[str]:
    """Return the command of Snakemake, of this environment or another one on the path."""
    if importlib.util.find_spec("snakemake") is not None:
        return [sys.executable, "-m", "snakemake"]
    if (found := shutil.which("snakemake")) is not None:
        return [found]
    raise InputError(
        "Snakemake is not installed",
        where="--snakemake",
        fix="Install it with 'pip install snakemake', or leave the option away: the jobs are then done one by one.",
    )


def _write_rule(study: Study, job: Job, estimate: Estimate | None, reuse: tuple[Path, ...]) -> list[str]:
    words = shlex.join(
        ["beadsmith", "study", str(study.folder), "--job", job.name]
        + [word for folder in reuse for word in ("--reuse", str(folder))]
    )
    lines = [f"# {describe_command(study, job)}", f"rule {name_rule(job)}:"]
    if job.needs:
        lines += ["    input:", *(f'        "{study.job_file(name)}",' for name in job.needs)]
    lines.append(f'    output: "{study.job_file(job.name)}"')
    lines += [f"    threads: {_count_threads(study, job)}", f"    retries: {_RETRIES}"]
    if estimate is not None:
        minutes = math.ceil(_SLACK * estimate.time / 60.0) + 5
        gpu = ", gpu=1" if _wants_gpu(study, job) else ""
        lines.append(f"    resources: mem_mb={math.ceil(1.5 * estimate.memory / 1e6)}, runtime={minutes}{gpu}")
    return [*lines, f'    shell: "{words}"']


def _count_threads(study: Study, job: Job) -> int:
    """Return the number of threads that the settings of the job's stages ask for."""
    sections = _list_sections(study, job)
    wanted = [section.threads or min(_MOST_THREADS, count_cores()) for section in sections]
    return max(wanted, default=1)


def _wants_gpu(study: Study, job: Job) -> bool:
    """Tell whether the settings of one of the job's stages name a GPU."""
    return any(str(getattr(section, "device", "cpu")).startswith("cuda") for section in _list_sections(study, job))


def _list_sections(study: Study, job: Job) -> list[Any]:
    """Return the settings of the job's stages; a force field that is taken from another run is not trained."""
    (run,) = (entry for entry in study.runs if entry.name == job.run)
    verbs = [verb for verb in job.verbs if verb != "train" or run.settings.trained_in is None]
    return [getattr(run.settings, _SECTIONS[verb]) for verb in verbs if verb in _SECTIONS]
