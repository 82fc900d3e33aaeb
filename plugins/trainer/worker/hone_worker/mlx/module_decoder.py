"""Sampling with an mlx-lm module and its caches: see ``engine.Decoder``.

Rows that decode one token and whose caches can be batched advance together; everything else goes row by row.
What a row gets depends in its last bits on how many others decode with it, and on the pieces in which it was
read: MLX's products add in an order that the number of rows decides.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import numpy as np
from mlx_lm.models.cache import make_prompt_cache

from hone_worker.lora import Params
from hone_worker.mlx.lora_linear import AdaptedModule


@dataclass(eq=False)
class ModuleRow:
    """One sequence's caches, a layer each."""

    caches: list[Any]

    @property
    def bytes(self) -> int:
        return sum(getattr(cache, "nbytes", 0) for cache in self.caches)


class ModuleDecoder:
    """A policy computed by mlx-lm's module; a prefix is a row that others copy."""

    def __init__(self, adapted: AdaptedModule) -> None:
        self._adapted, self._module = adapted, adapted.module
        self._params: Params | None = None

    def load(self, params: Params | None) -> None:
        self._params = params

    def row(self, prefix: ModuleRow | None = None) -> ModuleRow:
        return ModuleRow(copy.deepcopy(prefix.caches) if prefix else make_prompt_cache(self._module))

    def prefix(self, ids: Sequence[int]) -> ModuleRow:
        row = self.row()
        self.forward([row], [ids], [False])
        return row

    def forward(self, rows: Sequence[ModuleRow], new: Sequence[Sequence[int]], wanted: Sequence[bool]) -> np.ndarray:
        self._adapted.use(self._params)
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
