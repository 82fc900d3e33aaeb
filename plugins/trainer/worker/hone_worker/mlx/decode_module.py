"""The sampler's forward pass for any architecture that mlx-lm knows, on any device.

The same contract as ``decode.LlamaDecoder``, over mlx-lm's own module and its caches. Rows that
decode one token and whose caches can be batched advance together; everything else goes row by
row.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx_lm.models.cache import make_prompt_cache

from hone_worker.mlx import lora


@dataclass(eq=False)
class ModulePrefix:
    """The caches after tokens that several rows begin with; rows copy them."""

    caches: list[Any]

    @property
    def bytes(self) -> int:
        return _bytes(self.caches)


@dataclass(eq=False)
class ModuleRow:
    """One sequence's caches, a layer each."""

    caches: list[Any]

    @property
    def bytes(self) -> int:
        return _bytes(self.caches)


class ModuleDecoder:
    """A policy computed by mlx-lm's module. Not thread-safe: one caller at a time."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module

    def load(self, params: lora.Params | None, scale: float) -> None:  # noqa: ARG002
        """Makes the base with this adapter the policy; the scale is the module's own."""
        lora.use(self._module, params)

    def row(self, prefix: ModulePrefix | None = None) -> ModuleRow:
        return ModuleRow(copy.deepcopy(prefix.caches) if prefix else make_prompt_cache(self._module))

    def prefix(self, ids: Sequence[int]) -> ModulePrefix:
        row = self.row()
        self.forward([row], [ids], [False])
        return ModulePrefix(row.caches)

    def forward(
        self, rows: Sequence[ModuleRow], new: Sequence[Sequence[int]], wanted: Sequence[bool]
    ) -> np.ndarray:
        """Appends ``new[i]`` to ``rows[i]``; fp32 logits (wanted rows, vocab) after the last tokens."""
        results: dict[int, mx.array] = {}
        singles = [i for i, ids in enumerate(new) if len(ids) == 1 and wanted[i]]
        together = singles if len(singles) > 1 and all(_mergeable(rows[i].caches) for i in singles) else []
        if together:
            logits = self._together([rows[i] for i in together], [new[i][0] for i in together])
            results.update(zip(together, logits, strict=True))
        for i, row in enumerate(rows):
            if i not in results:
                results[i] = self._module(mx.array(new[i])[None], cache=row.caches)[0, -1]
                mx.eval(results[i], [cache.state for cache in row.caches])
        picked = [results[i].astype(mx.float32) for i in range(len(rows)) if wanted[i]]
        return np.array(mx.stack(picked)) if picked else np.zeros((0, 1), np.float32)

    def _together(self, rows: list[ModuleRow], tokens: list[int]) -> list[mx.array]:
        layers = range(len(rows[0].caches))
        merged = [type(rows[0].caches[layer]).merge([row.caches[layer] for row in rows]) for layer in layers]
        logits = self._module(mx.array(tokens)[:, None], cache=merged)[:, -1]
        for place, row in enumerate(rows):
            row.caches = [cache.extract(place) for cache in merged]
        mx.eval(logits, [cache.state for row in rows for cache in row.caches])
        return list(logits)


def _mergeable(caches: list[Any]) -> bool:
    return all(hasattr(type(cache), "merge") and not cache.empty() for cache in caches)


def _bytes(caches: list[Any]) -> int:
    return sum(getattr(cache, "nbytes", 0) for cache in caches)
