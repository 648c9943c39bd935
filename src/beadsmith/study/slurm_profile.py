"""Write Snakemake's profile for a cluster with SLURM beside the workflow of a study.

Threads, memory, time and GPU of each job stand in the workflow; the profile says how jobs are submitted. It is written
once: what is asked for on a cluster is the user's to fill in.
"""

from pathlib import Path

from beadsmith.io.records import write_bytes
from beadsmith.study.jobs import TRAIN, Job
from beadsmith.study.record import Study
from beadsmith.study.snakefile import name_rule

PROFILE = Path("profile") / "config.yaml"


def write_slurm_profile(study: Study, jobs: tuple[Job, ...]) -> Path:
    """Write the profile into the study folder unless one is there, and return its path.

    Raises
    ------
    InputError : the folder cannot be written to.
    """
    path = study.folder / PROFILE
    if path.is_file():
        return path
    rule = next((name_rule(job) for job in reversed(jobs) if job.verbs == (TRAIN,)), name_rule(jobs[-1]))
    lines = [
        f"# Snakemake's profile for the study '{study.name}' on a cluster with SLURM, written once: change it as your",
        "# cluster asks. With 'pip install snakemake-executor-plugin-slurm', add to the command of the study",
        f"#   --snakemake --cores 100 --profile {path.parent}",
        "executor: slurm",
        "jobs: 50             # in the queue at once",
        "latency-wait: 60     # seconds until a file that another node wrote must be seen",
        "default-resources:   # every job names its own memory and time in the Snakefile",
        "  mem_mb: 4000",
        "  runtime: 60        # minutes",
        "#  slurm_account: mine",
        "#  slurm_partition: standard",
        "# Single rules of the Snakefile may ask for something else:",
        "#set-resources:",
        f"#  {rule}:",
        "#    slurm_partition: gpu",
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, ("\n".join(lines) + "\n").encode())
    return path
