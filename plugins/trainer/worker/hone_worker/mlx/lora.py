"""The adapter: one flat dictionary of fp32 arrays, and its place in an mlx-lm module.

``Lora.params`` maps ``<path of the linear>.lora_a`` (in, r) and ``….lora_b`` (r, out) to numpy
arrays; the linear computes ``x W' + scale · (x a) b``. The arrays are replaced, never written
to, so a shallow copy of the dictionary is a snapshot that a server may keep.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx.utils import tree_unflatten

from hone_worker.config import LoraConfig
from hone_worker.errors import WorkerError

Params = Mapping[str, np.ndarray]
_LAYER = re.compile(r"(?:^|\.)layers\.(\d+)\.")


class LoraLinear(nn.Module):
    """A frozen linear map plus a low-rank update, which is off until arrays are set."""

    def __init__(self, linear: nn.Module, scale: float) -> None:
        super().__init__()
        self.linear = linear
        self.scale = scale
        self.lora_a: mx.array | None = None
        self.lora_b: mx.array | None = None

    def __call__(self, x: mx.array) -> mx.array:
        y = self.linear(x)
        if self.lora_a is None or self.lora_b is None:
            return y
        update = (x.astype(mx.float32) @ self.lora_a) @ self.lora_b
        return y + (self.scale * update).astype(y.dtype)


@dataclass
class Lora:
    """The adapter's state. ``shapes``: (in, out) of every adapted linear, by path."""

    config: LoraConfig
    shapes: dict[str, tuple[int, int]]
    params: dict[str, np.ndarray]
    first_layer: int

    @property
    def size(self) -> int:
        """How many numbers are trained."""
        return sum(value.size for value in self.params.values())


def create(module: nn.Module, config: LoraConfig, seed: int) -> Lora:
    """Chooses the linears, wraps them in ``module`` and draws a (uniform); b is zero.

    Raises WorkerError LORA_NO_TARGET if nothing matches.
    """
    layers = len(module.layers)
    first = max(0, layers - config.last_layers) if config.last_layers else 0
    targets = {
        path: part
        for path, part in module.named_modules()
        if isinstance(part, (nn.Linear, nn.QuantizedLinear)) and _wanted(path, config, first)
    }
    if not targets:
        raise WorkerError(
            "LORA_NO_TARGET",
            f"No linear map of the model matches target_modules {config.target_modules!r}.",
            'Use "all-linear", or names such as "q_proj" that the model has.',
        )
    rng = np.random.default_rng(seed)
    shapes, params = {}, {}
    for path in sorted(targets):
        inner, outer = _dimensions(targets[path])
        bound = 1.0 / np.sqrt(inner)
        shapes[path] = (inner, outer)
        params[f"{path}.lora_a"] = rng.uniform(-bound, bound, (inner, config.rank)).astype(np.float32)
        params[f"{path}.lora_b"] = np.zeros((config.rank, outer), np.float32)
    wrapped = [(path, LoraLinear(part, config.scale)) for path, part in targets.items()]
    module.update_modules(tree_unflatten(wrapped))
    lowest = min(int(_LAYER.search(path).group(1)) for path in targets)  # type: ignore[union-attr]
    return Lora(config=config, shapes=shapes, params=params, first_layer=lowest)


def use(module: nn.Module, params: Mapping[str, np.ndarray | mx.array] | None) -> None:
    """Makes ``module`` compute with this adapter (None: the base model)."""
    for path, part in module.named_modules():
        if isinstance(part, LoraLinear):
            part.lora_a = None if params is None else _mlx(params[f"{path}.lora_a"])
            part.lora_b = None if params is None else _mlx(params[f"{path}.lora_b"])


def _mlx(value: np.ndarray | mx.array) -> mx.array:
    return value if isinstance(value, mx.array) else mx.array(value)


def _wanted(path: str, config: LoraConfig, first: int) -> bool:
    match = _LAYER.search(path)
    if match is None or int(match.group(1)) < first:
        return False
    return config.target_modules == "all-linear" or path.rsplit(".", 1)[-1] in config.target_modules


def _dimensions(part: nn.Module) -> tuple[int, int]:
    outer, inner = part.weight.shape
    if isinstance(part, nn.QuantizedLinear):
        inner = inner * 32 // part.bits
    return inner, outer
