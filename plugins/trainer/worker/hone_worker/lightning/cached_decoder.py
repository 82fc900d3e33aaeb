"""Sampling from the training model itself: see ``engine.Decoder``.

All rows of a pass, those that decode one token and those that read several, go through the model as one line of
tokens; their keys and values are ``row_caches``'s. A row's last bits depend on the rows beside it, as with every
library of matrix products whose order of addition the number of lines decides.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from hone_worker.lightning.adapted_model import AdaptedModel
from hone_worker.lightning.cache_pass import CachePass
from hone_worker.lightning.row_caches import Prefix, Row
from hone_worker.lora import Params

# Ids of a prefix that are read at once.
_CHUNK = 512


class CachedDecoder:
    """A policy computed by transformers' module, with the attention of ``cache_pass``."""

    def __init__(self, model: AdaptedModel) -> None:
        self._model = model
        self._params: Params | None = None
        self._none = Prefix()

    def load(self, params: Params | None) -> None:
        self._params = params
        self._none = Prefix()

    def row(self, prefix: Prefix | None = None) -> Row:
        return Row(self._none if prefix is None else prefix)

    def prefix(self, ids: Sequence[int]) -> Prefix:
        row = self.row()
        for start in range(0, len(ids), _CHUNK):
            self.forward([row], [ids[start : start + _CHUNK]], [False])
        return Prefix.of(row)

    @torch.no_grad()
    def forward(self, rows: Sequence[Row], new: Sequence[Sequence[int]], wanted: Sequence[bool]) -> np.ndarray:
        model = self._model
        model.use(self._params)
        counts = [len(ids) for ids in new]
        with_caches = CachePass(rows, counts, model.device)
        ids = torch.tensor([id for place in with_caches.order for id in new[place]], device=model.device)[None]
        last = [with_caches.last[place] for place in range(len(rows)) if wanted[place]]
        if last:
            keep = torch.tensor(last, device=model.device)
            logits = model.logits(ids, with_caches.positions, with_caches, keep=keep)[0].float().cpu().numpy()
        else:
            model.states(ids, with_caches.positions, with_caches)
            logits = np.zeros((0, 1), np.float32)
        for row, count in zip(rows, counts, strict=True):
            row.length += count
        return logits
