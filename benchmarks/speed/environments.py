"""Python environments of the peers that cannot share ours, made on first use in the folder .peers of the repository.

mace-torch pins an old e3nn and switches off safe loading for its whole process; schnetpack brings a training framework
of its own. torch comes first, so that no CUDA packages are pulled in.
"""

import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".peers"
TORCH = "torch==2.13.0"
REQUIREMENTS = {
    "mace": ("mace-torch==0.3.16", "e3nn==0.4.4"),
    # two releases of lightning 2.6 carried malware
    "schnetpack": ("schnetpack==2.0.4", "pytorch-lightning<2.6", "lightning<2.6"),
}


def find_python(environment: str | None) -> Path:
    """Return the interpreter of an environment, after making it if it is missing or out of date.

    Raises
    ------
    RuntimeError : pip could not install it.
    """
    if environment is None:
        return Path(sys.executable)
    folder = FOLDER / environment
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    stamp, wanted = folder / "installed.txt", "\n".join((TORCH, *REQUIREMENTS[environment]))
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    print(f"installing {', '.join(REQUIREMENTS[environment])} into {folder.relative_to(ROOT)} (minutes, 1.4 GB)")
    FOLDER.mkdir(exist_ok=True)
    # the folder ignores itself, also in checkouts that know nothing of it
    (FOLDER / ".gitignore").write_text("*\n")
    venv.create(folder, with_pip=True, clear=True)
    for requirements in ((TORCH,), (TORCH, *REQUIREMENTS[environment])):
        _install(python, requirements)
    stamp.write_text(wanted)
    return python


def _install(python: Path, requirements: tuple[str, ...]) -> None:
    command = [str(python), "-m", "pip", "install", "--quiet", *requirements]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"pip install {' '.join(requirements)} failed:\n{done.stderr[-1000:]}")


if __name__ == "__main__":
    for chosen in sys.argv[1:] or REQUIREMENTS:
        print(find_python(chosen))
