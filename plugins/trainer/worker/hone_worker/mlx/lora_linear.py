"""The adapter inside an mlx-lm module: linear maps with a low-rank update, switched as a whole."""

from __future__ import annotations

from collections.abc import Mapping

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx.utils import tree_unflatten

from hone_worker.lora import Adapter

# NumPy's of the step, or MLX's while a gradient is traced.
Params = Mapping[str, np.ndarray | mx.array]


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


class AdaptedModule:
    """An mlx-lm module that passes and decoders share: each says which adapter it wants before it computes."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self._wrapped: dict[str, LoraLinear] = {}
        self._params: Params | None = None

    def linears(self) -> dict[str, tuple[int, int]]:
        """(in, out) of every linear map, by path."""
        kinds = (nn.Linear, nn.QuantizedLinear)
        return {path: _dimensions(part) for path, part in self.module.named_modules() if isinstance(part, kinds)}

    def attach(self, adapter: Adapter) -> None:
        """Wraps the adapter's linears; they compute as before until ``use`` gives them arrays."""
        parts = dict(self.module.named_modules())
        self._wrapped = {path: LoraLinear(parts[path], adapter.config.scale) for path in adapter.shapes}
        self.module.update_modules(tree_unflatten(list(self._wrapped.items())))

    def use(self, params: Params | None) -> None:
        """Makes the module compute with these arrays (None: the base model); dictionaries are never written to."""
        if params is self._params:
            return
        self._params = params
        for path, linear in self._wrapped.items():
            linear.lora_a = None if params is None else _mlx(params[f"{path}.lora_a"])
            linear.lora_b = None if params is None else _mlx(params[f"{path}.lora_b"])


def _mlx(value: np.ndarray | mx.array) -> mx.array:
    return value if isinstance(value, mx.array) else mx.array(value)


def _dimensions(part: nn.Module) -> tuple[int, int]:
    outer, inner = part.weight.shape
    if isinstance(part, nn.QuantizedLinear):
        inner = inner * 32 // part.bits
    return inner, outer
