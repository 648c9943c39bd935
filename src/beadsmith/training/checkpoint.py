"""One file that holds everything a fit needs to go on: tensors as safetensors, counters as JSON in its header."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from beadsmith.errors import InputError
from beadsmith.io.records import describe_os_error, write_bytes

FORMAT_VERSION = "1"


@dataclass(frozen=True, kw_only=True)
class FitFiles:
    """Where one fit keeps what it has reached."""

    checkpoint: Path
    """The checkpoint."""
    identity: str
    """Hash of everything the fit depends on; a checkpoint of another identity is ignored."""
    log: Path | None = None
    """CSV file with one line per epoch, or None."""


def save_checkpoint(files: FitFiles, *, tensors: dict[str, Tensor], counters: dict[str, Any]) -> None:
    """Write a checkpoint atomically; a kill at any moment leaves the old or the new one whole.

    Parameters
    ----------
    files : Target; its folder is made.
    tensors : Weights, moments and generator state.
    counters : JSON-ready numbers; floats come back exactly.

    Raises
    ------
    InputError : the folder cannot be written to or the disk is full.
    """
    try:
        files.checkpoint.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise describe_os_error(error, files.checkpoint.parent) from error
    header = {"format_version": FORMAT_VERSION, "identity": files.identity, "counters": json.dumps(counters)}
    content = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    write_bytes(files.checkpoint, safetensors.torch.save(content, metadata=header))


def load_checkpoint(files: FitFiles) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Return tensors and counters of a checkpoint, or None where there is none of this identity.

    Raises
    ------
    InputError : the file cannot be read or is damaged.
    """
    path = files.checkpoint
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            if header.get("identity") != files.identity or header.get("format_version") != FORMAT_VERSION:
                return None
            return {name: file.get_tensor(name) for name in file.keys()}, json.loads(header["counters"])  # noqa: SIM118
    except OSError as error:
        raise describe_os_error(error, path) from error
    except (SafetensorError, KeyError, ValueError) as error:
        raise InputError(
            f"the training checkpoint '{path}' is damaged ({error})", fix="Delete it and train again."
        ) from error


def module_tensors(prefix: str, module: nn.Module) -> dict[str, Tensor]:
    """Return a module's parameters and buffers under a prefix."""
    return {f"{prefix}/{name}": tensor for name, tensor in module.state_dict().items()}


def load_module_(prefix: str, module: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Put back what `module_tensors` returned."""
    start = f"{prefix}/"
    module.load_state_dict({name.removeprefix(start): t for name, t in tensors.items() if name.startswith(start)})


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the moments and step counts of an optimiser."""
    state = optimiser.state_dict()["state"]
    return {f"optimiser/{index}/{name}": value for index, entry in state.items() for name, value in entry.items()}


def load_optimiser_(optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put back what `optimiser_tensors` returned; the settings of the optimiser stay."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimiser/"):
            _, index, name = key.split("/")
            state.setdefault(int(index), {})[name] = value.clone()
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
