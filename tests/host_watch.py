"""Find out whether the host would wait for a GPU, without one: tensors without memory stand in for a GPU's."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class HostWatch(TorchDispatchMode):
    """Refuse whatever makes the host wait for a device or copy to it; tensors on no device stand in for a GPU's."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        devices = {leaf.device.type for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, torch.Tensor)}
        name = function.name()
        assert name not in ("aten::_linalg_check_errors", "aten::_local_scalar_dense", "aten::nonzero"), name
        # a number of one element may enter a kernel as an argument, but not be copied
        assert devices != {"cpu", "meta"} or name not in ("aten::copy_", "aten::_to_copy"), name
        large = [leaf for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor) and leaf.ndim > 0]
        assert all(leaf.device.type == "meta" for leaf in large), f"{name} made a tensor on the host"
        return result


def leave_the_host(thing, seen):
    """Return an object with all its tensors replaced by such without memory; objects are changed in place."""
    if isinstance(thing, torch.nn.Module):
        return thing.to("meta")
    if isinstance(thing, torch.Tensor):
        return thing.to("meta")
    if isinstance(thing, list | tuple):
        return type(thing)(leave_the_host(part, seen) for part in thing)
    if type(thing).__module__.startswith("beadsmith") and id(thing) not in seen:
        seen.add(id(thing))
        for name, value in vars(thing).items():
            object.__setattr__(thing, name, leave_the_host(value, seen))
    return thing
