"""Attention of a pass over a prefix tree, called by transformers' models in place of their own.

``install`` registers the implementation "hone" with transformers. A model whose configuration names it calls
``hone_pass.attend(layer, query, key, value, scaling)`` in each layer, where ``hone_pass`` is a keyword argument of
the model's forward; no mask is made. Tensors as transformers gives them: query (1, heads, T, dim), key and value
(1, kv_heads, T, dim), already rotated; the answer is (1, T, heads, dim).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch.nn import functional
from transformers import AttentionInterface

from hone_worker.packing import Tree

NAME = "hone"


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


class TreePass:
    """Causal attention along the branches of a tree: a token sees its ancestors and itself."""

    def __init__(self, tree: Tree, device: torch.device) -> None:
        self._segments = [
            ([slice(tree.segments[a].start, tree.segments[a].stop) for a in tree.ancestors(i)], slice(s.start, s.stop))
            for i, s in enumerate(tree.segments)
        ]
        self._masks = [_mask(above, own, device) for above, own in self._segments]

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float
    ) -> torch.Tensor:
        groups = query.shape[1] // key.shape[1]
        key, value = (part.repeat_interleave(groups, 1) for part in (key, value))
        out = []
        for (above, own), mask in zip(self._segments, self._masks, strict=True):
            seen = [*above, own]
            keys, values = (torch.cat([part[:, :, s] for s in seen], 2) for part in (key, value))
            out.append(
                functional.scaled_dot_product_attention(
                    query[:, :, own], keys, values, mask, scale=scaling, is_causal=mask is None
                )
            )
        return torch.cat(out, 2).transpose(1, 2)


def _mask(above: Sequence[slice], own: slice, device: torch.device) -> torch.Tensor | None:
    if not above:
        return None
    count, context = own.stop - own.start, sum(s.stop - s.start for s in above)
    return torch.ones(count, context + count, dtype=torch.bool, device=device).tril(context)


def depths(tree: Tree, device: torch.device) -> torch.Tensor:
    """The positions of a tree's tokens (1, T)."""
    parts = [torch.arange(s.depth, s.depth + s.stop - s.start) for s in tree.segments]
    return torch.cat(parts)[None].to(device)
