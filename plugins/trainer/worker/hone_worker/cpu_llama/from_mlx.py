"""Takes the weights out of an mlx-lm Llama module, and checks the hand-written pass against it.

The one file of this engine that knows MLX: fp32 arrays in, views of the same memory out, so that nothing is
held twice.
"""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from hone_worker.cpu_llama import ops
from hone_worker.cpu_llama.weights import GATE_UP, QKV, LlamaLayer, LlamaWeights

_TOLERANCE = 1e-3


def take_weights(module: nn.Module, config: dict[str, Any], context_tokens: int) -> LlamaWeights | None:
    """The weights of ``module``, whose own maps become views of them; None for any other shape (biases,
    scaled or partial rotary, quantised weights)."""
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


def agrees(weights: LlamaWeights, module: nn.Module) -> bool:
    """Whether the plain NumPy pass gives the module's logits on some random ids."""
    ids = np.random.default_rng(0).integers(0, weights.embed.shape[0], 24)
    expected = np.array(module(mx.array(ids[None]))[0].astype(mx.float32))
    return bool(np.abs(ops.logits(weights, ids) - expected).max() < _TOLERANCE)


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
        qkv=_fuse([getattr(attention, name) for name in QKV]),
        out=_fuse([attention.o_proj]),
        post_norm=_numpy(block.post_attention_layernorm.weight),
        gate_up=_fuse([getattr(mlp, name) for name in GATE_UP]),
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
