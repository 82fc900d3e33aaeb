"""Plain fp32 weights of a Llama-shaped model, and the adapter merged into them.

All arrays are C-contiguous fp32; maps are stored (out, in): y = x @ W.T.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

# Row blocks of the two fused maps, in order.
QKV = ("q_proj", "k_proj", "v_proj")
GATE_UP = ("gate_proj", "up_proj")


@dataclass(frozen=True)
class LlamaLayer:
    """One block. qkv: ((heads + 2·kv_heads)·d, hidden); gate_up: (2·inner, hidden), gate first;
    out: (hidden, heads·d); down: (hidden, inner); input_norm, post_norm: (hidden,)."""

    input_norm: np.ndarray
    qkv: np.ndarray
    out: np.ndarray
    post_norm: np.ndarray
    gate_up: np.ndarray
    down: np.ndarray


@dataclass(frozen=True)
class LlamaWeights:
    """embed and head: (vocab, hidden), the same array when tied; cos, sin: (context, d/2), for
    the half-split rotation [x1·cos − x2·sin, x2·cos + x1·sin] of each head's halves x1, x2."""

    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    inner: int
    eps: float
    embed: np.ndarray
    head: np.ndarray
    norm: np.ndarray
    cos: np.ndarray
    sin: np.ndarray
    layers: tuple[LlamaLayer, ...]

    def linears(self) -> dict[str, tuple[int, int]]:
        """(in, out) of every linear map of the layers, by its path in the checkpoint."""
        return {
            path: (getattr(layer, field).shape[1], rows.stop - rows.start)
            for index, layer in enumerate(self.layers)
            for field, blocks in self.blocks(index).items()
            for path, rows in blocks
        }

    def merged(self, params: Mapping[str, np.ndarray] | None, scale: float) -> LlamaWeights:
        """The same model with W + scale·(a b)ᵀ in the adapted maps; frozen layers are shared."""
        if not params:
            return self
        layers = tuple(self._merge_layer(i, layer, params, scale) for i, layer in enumerate(self.layers))
        return replace(self, layers=layers)

    def _merge_layer(
        self, index: int, layer: LlamaLayer, params: Mapping[str, np.ndarray], scale: float
    ) -> LlamaLayer:
        changed = {}
        for field, blocks in self.blocks(index).items():
            weight = None
            for path, rows in blocks:
                a = params.get(f"{path}.lora_a")
                if a is None:
                    continue
                if weight is None:
                    weight = getattr(layer, field).copy()
                b = params[f"{path}.lora_b"]
                weight[rows] += (scale * b.T) @ a.T
            if weight is not None:
                changed[field] = weight
        return replace(layer, **changed) if changed else layer

    def blocks(self, index: int) -> dict[str, list[tuple[str, slice]]]:
        """Which rows of each fused map belong to which linear of the checkpoint, by its path."""
        d, prefix = self.head_dim, f"model.layers.{index}"
        sizes = (self.heads * d, self.kv_heads * d, self.kv_heads * d)
        return {
            "qkv": _rows(f"{prefix}.self_attn", QKV, sizes),
            "out": _rows(f"{prefix}.self_attn", ("o_proj",), (self.hidden,)),
            "gate_up": _rows(f"{prefix}.mlp", GATE_UP, (self.inner, self.inner)),
            "down": _rows(f"{prefix}.mlp", ("down_proj",), (self.hidden,)),
        }


def _rows(prefix: str, names: tuple[str, ...], sizes: tuple[int, ...]) -> list[tuple[str, slice]]:
    ends = np.cumsum(sizes).tolist()
    return [
        (f"{prefix}.{name}", slice(end - size, end))
        for name, size, end in zip(names, sizes, ends, strict=True)
    ]
