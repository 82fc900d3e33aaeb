"""Sampling with transformers' own caches, row by row: see ``engine.Decoder``.

For models whose attention is more than ``cache_pass`` computes: sliding windows, linear attention, soft caps. Right for
every architecture, and slower, since rows share neither products nor prefixes.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache

from hone_worker.lightning.adapted_model import AdaptedModel
from hone_worker.lora import Params


@dataclass(eq=False)
class LibraryRow:
    """One sequence of ``length`` tokens and what the model keeps of it."""

    cache: Any
    length: int = 0

    @property
    def bytes(self) -> int:
        """Memory of everything kept, each layer in its own way."""
        return sum(tensor.nbytes for layer in self.cache.layers for tensor in _tensors(vars(layer)))


class LibraryDecoder:
    """A policy computed by transformers' module with its own attention; a prefix is a row that others copy."""

    def __init__(self, model: AdaptedModel) -> None:
        self._model = model
        self._params: Params | None = None

    def load(self, params: Params | None) -> None:
        self._params = params

    def row(self, prefix: LibraryRow | None = None) -> LibraryRow:
        return LibraryRow(DynamicCache(config=self._model.module.config)) if prefix is None else copy.deepcopy(prefix)

    def prefix(self, ids: Sequence[int]) -> LibraryRow:
        row = self.row()
        self.forward([row], [ids], [False])
        return row

    @torch.no_grad()
    def forward(self, rows: Sequence[LibraryRow], new: Sequence[Sequence[int]], wanted: Sequence[bool]) -> np.ndarray:
        model = self._model
        model.use(self._params)
        found = []
        for row, ids, want in zip(rows, new, wanted, strict=True):
            line = torch.tensor([list(ids)], device=model.device)
            positions = torch.arange(row.length, row.length + len(ids), device=model.device)[None]
            logits = model.logits(line, positions, keep=1, cache=row.cache)[0, -1]
            row.length += len(ids)
            if want:
                found.append(logits.float())
        return torch.stack(found).cpu().numpy() if found else np.zeros((0, 1), np.float32)


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _tensors(part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _tensors(part)
