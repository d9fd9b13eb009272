"""Modules that cannot be cut in the form in which they are given, and weights that hooks compute before each call."""

from __future__ import annotations

import sys

import torch
from torch import nn
from torch.nn.utils import parametrize, prune
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from slimyolo.errors import PruningError

__all__ = ["computed_weights", "refuse_compiled"]


def refuse_compiled(module: nn.Module) -> None:
    """Raise `PruningError` for TorchScript modules and for wrappers around the module that should be cut."""
    name = type(module).__name__
    if isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        raise PruningError(f"{name} wraps the network for several devices. Pass the network inside it: model.module.")
    if _compiled(module):
        raise PruningError(
            f"{name} was made by torch.compile. Pass the network inside it, model._orig_mod, and compile the result again."
        )
    for path, part in module.named_modules():
        if isinstance(part, torch.jit.ScriptModule):
            place = f"The module {path!r}" if path else "The module"
            raise PruningError(
                f"{place} is TorchScript ({type(part).__name__}), in which sizes are compiled: it cannot be cut. Prune the "
                f"nn.Module from which it was made, and make TorchScript of the result: torch.jit.script(result.model) or "
                f"torch.jit.trace(result.model, inputs)."
            )


def _compiled(module: nn.Module) -> bool:
    frames = sys.modules.get("torch._dynamo.eval_frame")  # importing it takes seconds; without it nothing was compiled
    return frames is not None and isinstance(module, frames.OptimizedModule)


def computed_weights(module: nn.Module) -> list[str]:
    """A note for each layer whose weight is computed from other tensors before each call: what computes it, what to do."""
    notes = []
    for path, part in module.named_modules():
        for hook in part._forward_pre_hooks.values():
            if isinstance(hook, prune.BasePruningMethod):
                name = hook._tensor_name
                after = f"torch.nn.utils.prune.remove(module, {name!r}) makes the mask permanent and frees them"
                notes.append(f"{path}: {name} is masked by torch.nn.utils.prune, which keeps some channels; {after}")
            elif isinstance(hook, (WeightNorm, SpectralNorm)):
                remove = "remove_weight_norm" if isinstance(hook, WeightNorm) else "remove_spectral_norm"
                after = f"torch.nn.utils.{remove}(module) frees them"
                notes.append(f"{path}: {hook.name} is normalised before each call, which keeps the channels; {after}")
        if parametrize.is_parametrized(part):
            for name in part.parametrizations:
                after = f"torch.nn.utils.parametrize.remove_parametrizations(module, {name!r}) frees them"
                notes.append(f"{path}: {name} is parametrized, which can keep channels; {after}")
    return notes
