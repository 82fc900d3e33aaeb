"""Plain fp32 weights of a Llama-shaped model, for the hand-written CPU layers.

On a CPU, numpy is far faster than MLX between the matrix products (exp: 0.45 against 12 ns an
element, measured), so sampler and trainer run their own layers over these arrays. ``extract``
answers None for any other shape (biases, scaled or partial rotary, quantised weights): such a
model takes the general path through mlx-lm's module. All arrays are C-contiguous fp32, maps are
stored (out, in): y = x @ W.T.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import mlx.core as mx
import mlx.nn as nn
import numpy as np

# Row blocks of the two fused maps, in order.
_QKV = ("q_proj", "k_proj", "v_proj")
_GATE_UP = ("gate_proj", "up_proj")
_SUPPORTED = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


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
        """Which rows of each fused map belong to which linear of mlx-lm's module, by its path."""
        d, prefix = self.head_dim, f"model.layers.{index}"
        sizes = (self.heads * d, self.kv_heads * d, self.kv_heads * d)
        return {
            "qkv": _rows(f"{prefix}.self_attn", _QKV, sizes),
            "out": _rows(f"{prefix}.self_attn", ("o_proj",), (self.hidden,)),
            "gate_up": _rows(f"{prefix}.mlp", _GATE_UP, (self.inner, self.inner)),
            "down": _rows(f"{prefix}.mlp", ("down_proj",), (self.hidden,)),
        }


def _rows(prefix: str, names: tuple[str, ...], sizes: tuple[int, ...]) -> list[tuple[str, slice]]:
    ends = np.cumsum(sizes).tolist()
    return [
        (f"{prefix}.{name}", slice(end - size, end))
        for name, size, end in zip(names, sizes, ends, strict=True)
    ]


def extract(module: nn.Module, config: dict, context_tokens: int) -> LlamaWeights | None:
    """Takes the weights out of an mlx-lm Llama module (before adapters wrap it), or None.

    The module's maps become views of the fused arrays, so nothing is held twice.
    """
    if config.get("model_type") != "llama" or not _is_plain(module, config):
        return None
    args = module.args
    heads, kv_heads = args.num_attention_heads, args.num_key_value_heads
    head_dim = args.head_dim or args.hidden_size // heads
    layers = tuple(_layer(block) for block in module.layers)
    embed = _numpy(module.model.embed_tokens.weight)
    head = embed if args.tie_word_embeddings else _numpy(module.lm_head.weight)
    # As mlx.nn.RoPE computes it: base ** (-2 i / d) in fp32.
    frequencies = np.exp(-np.arange(0, head_dim, 2, dtype=np.float32) / head_dim * np.log(np.float32(args.rope_theta)))
    angles = np.arange(context_tokens, dtype=np.float32)[:, None] * frequencies[None].astype(np.float32)
    return LlamaWeights(
        hidden=args.hidden_size,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        inner=args.intermediate_size,
        eps=args.rms_norm_eps,
        embed=embed,
        head=head,
        norm=_numpy(module.model.norm.weight),
        cos=np.cos(angles),
        sin=np.sin(angles),
        layers=layers,
    )


def _is_plain(module: nn.Module, config: dict) -> bool:
    args = module.args
    if args.rope_scaling or args.rope_traditional or args.attention_bias or args.mlp_bias:
        return False
    if any(kind != "full_attention" for kind in args.layer_types):
        return False
    if config.get("hidden_act", "silu") != "silu":
        return False
    linears = [part for _, part in module.named_modules() if isinstance(part, nn.QuantizedLinear)]
    return not linears and module.model.embed_tokens.weight.dtype != mx.uint32


def _layer(block: nn.Module) -> LlamaLayer:
    attention, mlp = block.self_attn, block.mlp
    return LlamaLayer(
        input_norm=_numpy(block.input_layernorm.weight),
        qkv=_fuse([getattr(attention, name) for name in _QKV]),
        out=_fuse([attention.o_proj]),
        post_norm=_numpy(block.post_attention_layernorm.weight),
        gate_up=_fuse([getattr(mlp, name) for name in _GATE_UP]),
        down=_fuse([mlp.down_proj]),
    )


def _fuse(linears: list[nn.Module]) -> np.ndarray:
    fused = mx.concatenate([linear.weight.astype(mx.float32) for linear in linears])
    mx.eval(fused)
    start = 0
    for linear in linears:
        rows = linear.weight.shape[0]
        linear.weight = fused[start : start + rows]
        start += rows
    mx.eval([linear.weight for linear in linears])
    return _numpy(fused)


def _numpy(value: mx.array) -> np.ndarray:
    # A view: MLX memory is ordinary memory on a CPU, and the array stays alive with it.
    return np.array(value.astype(mx.float32), copy=False)
