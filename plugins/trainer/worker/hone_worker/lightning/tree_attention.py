"""Attention of a pass over a prefix tree, called by transformers' models in place of their own.

``install`` registers the implementation "hone" with transformers. A model whose configuration names it calls
``hone_pass.attend(layer, query, key, value, scaling)`` in each layer, where ``hone_pass`` is a keyword argument of
the model's forward; no mask is made. Tensors as transformers gives them: query (1, heads, T, dim), key and value
(1, kv_heads, T, dim), already rotated; the answer is (1, T, heads, dim).
"""

from __future__ import annotations

import functools
from typing import Any, Protocol

import numpy as np
import torch
from torch.nn import functional
from torch.nn.attention.flex_attention import BlockMask, flex_attention
from transformers import AttentionInterface

from hone_worker.packing import Tree

NAME = "hone"
# FlexAttention is slower than a masked product below about a thousand tokens.
_FLEX_FROM = 1024
_BLOCK = 128


class Pass(Protocol):
    """What computes the attention of one forward."""

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float
    ) -> torch.Tensor:
        """One layer's attention."""


def install() -> None:
    """Makes "hone" an attention implementation that models may be set to."""
    AttentionInterface.register(NAME, _attend)


def _attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    hone_pass: Pass | None = None,
    **more: Any,
) -> tuple[torch.Tensor, None]:
    if hone_pass is None or more.get("softcap") or more.get("s_aux") is not None:
        raise ValueError("this model's attention is more than a softmax of scaled products")
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    return hone_pass.attend(module.layer_idx, query, key, value, scale), None


def tree_pass(tree: Tree, device: torch.device) -> Pass:
    """Causal attention along the branches of a tree: a token sees its ancestors and itself."""
    if device.type == "cpu":
        return SplitPass(tree)
    return MaskedPass(tree, device) if len(tree.ids) < _FLEX_FROM else FlexPass(tree, device)


def depths(tree: Tree, device: torch.device) -> torch.Tensor:
    """The positions of a tree's tokens (1, T)."""
    parts = [torch.arange(s.depth, s.depth + s.stop - s.start) for s in tree.segments]
    return torch.cat(parts)[None].to(device)


def ends(tree: Tree) -> np.ndarray:
    """Of each segment, where its descendants end. Segments lie depth first, so that tokens [start, end) are those of
    the segment and of all below it: a token q sees a token k just when k <= q < end of k's segment."""
    found = np.array([segment.stop for segment in tree.segments])
    for index in reversed(range(len(found))):
        parent = tree.segments[index].parent
        if parent >= 0:
            found[parent] = max(found[parent], found[index])
    return found


class SplitPass:
    """On the CPU: of each segment the causal part, and all its descendants over it at once, without any mask or copy.

    Each token's parts are joined by the logarithms of their norms. Given the joined answer and norm, the backward of a
    part is that of the whole, so that torch's own kernels make the gradient too.
    """

    def __init__(self, tree: Tree) -> None:
        self._own = [slice(s.start, s.stop) for s in tree.segments]
        below = zip(self._own, ends(tree).tolist(), strict=True)
        self._below = [(slice(own.stop, end), own) for own, end in below if end > own.stop]

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float
    ) -> torch.Tensor:
        return _Split.apply(query, key, value, scaling, self._own, self._below).transpose(1, 2)


_forward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default
_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward.default


class _Split(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        scale: float,
        own: list[slice],
        below: list[tuple[slice, slice]],
    ) -> torch.Tensor:
        _, heads, count, _ = query.shape
        out = query.new_empty(1, count, heads, value.shape[-1]).transpose(1, 2)
        norm = torch.empty(1, count, heads, dtype=torch.float32).transpose(1, 2)
        for s in own:
            out[:, :, s], norm[:, :, s] = _forward(query[:, :, s], key[:, :, s], value[:, :, s], 0.0, True, scale=scale)
        for queries, keys in below:
            part, log = _forward(query[:, :, queries], key[:, :, keys], value[:, :, keys], scale=scale)
            before, so_far = norm[:, :, queries], out[:, :, queries]
            share = torch.sigmoid(log - before)[..., None]
            so_far.lerp_(part, share.to(part.dtype))
            before.copy_(torch.logaddexp(before, log))
        ctx.save_for_backward(query, key, value, out, norm)
        ctx.scale, ctx.own, ctx.below = scale, own, below
        return out

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, None, None, None]:
        query, key, value, out, norm = ctx.saved_tensors

        def part(queries: slice, keys: slice, causal: bool) -> tuple[torch.Tensor, ...]:
            of_queries = [x[:, :, queries] for x in (grad, query)]
            of_keys = [x[:, :, keys] for x in (key, value)]
            rest = (out[:, :, queries], norm[:, :, queries], 0.0, causal)
            return _backward(*of_queries, *of_keys, *rest, scale=ctx.scale)

        grads = [torch.empty_like(x) for x in (query, key, value)]
        for s in ctx.own:
            for whole, found in zip(grads, part(s, s, True), strict=True):
                whole[:, :, s] = found
        for queries, keys in ctx.below:
            for whole, place, found in zip(grads, (queries, keys, keys), part(queries, keys, False), strict=True):
                whole[:, :, place] += found
        return *grads, None, None, None


class MaskedPass:
    """On CUDA for few tokens: one product under a mask (T, T)."""

    def __init__(self, tree: Tree, device: torch.device) -> None:
        place = torch.arange(len(tree.ids), device=device)
        self._mask = _visible(_end_of_tokens(tree, device), place[:, None], place[None])

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float
    ) -> torch.Tensor:
        groups = query.shape[1] // key.shape[1]
        # Under a mask the fused kernels take no grouped heads.
        key, value = (part.repeat_interleave(groups, 1) for part in (key, value))
        return functional.scaled_dot_product_attention(query, key, value, self._mask, scale=scaling).transpose(1, 2)


class FlexPass:
    """On CUDA for many tokens: FlexAttention, which leaves out the blocks of (T, T) where nothing is seen."""

    def __init__(self, tree: Tree, device: torch.device) -> None:
        end = _end_of_tokens(tree, device)
        count = len(tree.ids)
        partial, full = _blocks(ends(tree), tree)
        self._mask = BlockMask.from_kv_blocks(
            *_listed(partial, device),
            *_listed(full, device),
            BLOCK_SIZE=_BLOCK,
            mask_mod=lambda b, h, q, k: _visible(end, q, k),
            seq_lengths=(count, count),
        )

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float
    ) -> torch.Tensor:
        run = flex_attention if query.device.type == "cpu" else _compiled()
        return run(query, key, value, block_mask=self._mask, scale=scaling, enable_gqa=True).transpose(1, 2)


@functools.cache
def _compiled() -> Any:
    # Every micro-batch has a length of its own: with static shapes each would be compiled anew.
    return torch.compile(flex_attention, dynamic=True)


def _visible(end: torch.Tensor, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    return (key <= query) & (query < end[key])


def _end_of_tokens(tree: Tree, device: torch.device) -> torch.Tensor:
    return torch.as_tensor(np.repeat(ends(tree), [s.stop - s.start for s in tree.segments]), device=device)


def _blocks(end: np.ndarray, tree: Tree) -> tuple[np.ndarray, np.ndarray]:
    """(blocks of queries, blocks of keys): where some tokens are seen, and where all are."""
    of_tokens = np.repeat(end, [s.stop - s.start for s in tree.segments])
    count = len(of_tokens)
    starts = np.arange(0, count, _BLOCK)
    stops = np.minimum(starts + _BLOCK, count)
    farthest, nearest = np.maximum.reduceat(of_tokens, starts), np.minimum.reduceat(of_tokens, starts)
    above = starts[:, None] > starts[None]
    seen = above & (farthest[None] > starts[:, None]) | np.eye(len(starts), dtype=bool)
    full = above & (nearest[None] >= stops[:, None])
    return seen & ~full, full


def _listed(blocks: np.ndarray, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """How many blocks of keys each block of queries has, and which, those first."""
    order = np.argsort(~blocks, axis=1, kind="stable")
    shape = (1, 1, *blocks.shape)
    counts = torch.as_tensor(blocks.sum(1), dtype=torch.int32, device=device).view(shape[:3])
    return counts, torch.as_tensor(order, dtype=torch.int32, device=device).view(shape)
