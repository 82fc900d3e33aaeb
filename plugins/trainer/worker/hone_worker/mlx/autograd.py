"""Training passes for any mlx-lm architecture: its own module, padded rows, MLX's autograd.

The head is applied to trained positions only where the module splits into a trunk and a head that
reproduce it (checked once); else whole logits are made. Rows are not shared here; micro-batches hold rows
of like length.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from hone_worker.engine import PassResult, Slope
from hone_worker.lora import Params
from hone_worker.mlx.lora_linear import AdaptedModule
from hone_worker.packing import Tree, pack
from hone_worker.rows import Row

BATCH_TOKENS = 4096
HEAD_BLOCK = 512
_LENGTH_STEP = 64


@dataclass
class PaddedPlan:
    """Rows without sharing: ``tree`` has one segment a row; batches: indices of rows computed together;
    physical: how many tokens, padding included."""

    tree: Tree
    rows: list[Row]
    batches: list[list[int]]
    physical: int


def plan(rows: Sequence[Row]) -> PaddedPlan:
    """Sorts rows by length into micro-batches of at most BATCH_TOKENS, padding included."""
    rows = list(rows)
    longest = max(len(row.ids) for row in rows)
    tree = pack(rows, min_shared=longest + 1)
    order = sorted(range(len(rows)), key=lambda i: (len(rows[i].ids), i))
    batches: list[list[int]] = []
    physical, size = 0, 0
    for index in order:
        width = _padded(len(rows[index].ids))
        if not batches or width * (len(batches[-1]) + 1) > BATCH_TOKENS:
            physical += size
            batches.append([])
        batches[-1].append(index)
        size = width * len(batches[-1])
    return PaddedPlan(tree, rows, batches, physical + size)


class PaddedPasses:
    """Runs plans on a module; see ``engine.Engine.run``."""

    def __init__(self, adapted: AdaptedModule) -> None:
        self._adapted = adapted
        self._trunk, self._head = _split(adapted.module)

    def run(
        self, plan: PaddedPlan, params: Params | None, slope: Slope | None, only: set[int] | None
    ) -> PassResult:
        entries = plan.tree.entries
        empty = np.full(len(entries), np.nan, np.float32)
        result = PassResult(empty.copy(), empty.copy())
        totals: dict[str, mx.array] = {}
        values = None if params is None else {name: mx.array(value) for name, value in params.items()}
        for members in plan.batches:
            if only is not None and not only.intersection(members):
                continue
            index = np.flatnonzero(np.isin(entries.row, members))
            batch = _Batch(plan, members, index)
            if slope is None or values is None:
                self._adapted.use(values)
                self._record(result, index, *self._logps(batch))
                continue
            found = self._gradients(batch, values, slope, result)
            totals = {k: totals[k] + v if k in totals else v for k, v in found.items()}
            mx.eval(totals)
        self._adapted.use(None)  # the module would keep a traced gradient alive
        result.grads = {name: np.array(value) for name, value in totals.items()}
        mx.clear_cache()
        return result

    def _gradients(
        self, batch: _Batch, values: dict[str, mx.array], slope: Slope, result: PassResult
    ) -> dict[str, mx.array]:
        def loss(current: dict[str, mx.array]) -> mx.array:
            self._adapted.use(current)
            logp, entropy = self._logps(batch)
            self._record(result, batch.index, logp, entropy)
            found = slope(batch.index, result.logp[batch.index])
            return (mx.array(found.astype(np.float32)) * logp).sum()

        return mx.grad(loss)(values)

    @staticmethod
    def _record(result: PassResult, index: np.ndarray, logp: mx.array, entropy: mx.array) -> None:
        mx.eval(logp, entropy)
        result.logp[index] = np.array(logp)
        result.entropy[index] = np.array(entropy)

    def _logps(self, batch: _Batch) -> tuple[mx.array, mx.array]:
        states = self._trunk(mx.array(batch.ids))
        states = states.reshape(-1, states.shape[-1])[mx.array(batch.states)]
        parts = []
        for start in range(0, len(batch.targets), HEAD_BLOCK):
            # Checkpointed: the backward makes the logits anew instead of keeping them.
            block = mx.checkpoint(partial(self._block, mx.array(batch.targets[start : start + HEAD_BLOCK])))
            parts.append(block(states[start : start + HEAD_BLOCK]))
        return mx.concatenate([p[0] for p in parts]), mx.concatenate([p[1] for p in parts])

    def _block(self, targets: mx.array, states: mx.array) -> tuple[mx.array, mx.array]:
        logits = self._head(states).astype(mx.float32)
        log_norm = mx.logsumexp(logits, axis=-1)
        logp = mx.take_along_axis(logits, targets[:, None], axis=-1)[:, 0] - log_norm
        mean = (mx.softmax(logits, axis=-1) * logits).sum(axis=-1)
        return logp, mx.stop_gradient(log_norm - mean)


class _Batch:
    """Padded ids of some rows, and where their entries' states lie in them when flattened."""

    def __init__(self, plan: PaddedPlan, members: list[int], index: np.ndarray) -> None:
        width = _padded(max(len(plan.rows[i].ids) for i in members))
        self.index = index
        self.ids = np.zeros((len(members), width), np.int32)
        place = {}
        for line, member in enumerate(members):
            ids = plan.rows[member].ids
            self.ids[line, : len(ids)] = ids
            place[member] = line * width - plan.tree.segments[member].start
        entries = plan.tree.entries
        offset = np.array([place[row] for row in entries.row[index].tolist()], np.int64)
        self.states = entries.state[index] + offset
        self.targets = entries.target[index]


def _padded(length: int) -> int:
    return -(-length // _LENGTH_STEP) * _LENGTH_STEP


def _split(module: nn.Module) -> tuple[Callable[[mx.array], mx.array], Callable[[mx.array], mx.array]]:
    def whole(ids: mx.array) -> mx.array:
        return module(ids)

    inner = getattr(module, "model", None)
    embed = getattr(inner, "embed_tokens", None)
    head = getattr(module, "lm_head", None) or getattr(embed, "as_linear", None)
    if inner is None or head is None:
        return whole, lambda logits: logits
    ids = mx.arange(1, 9)[None]
    try:
        same = mx.allclose(head(inner(ids)), module(ids), rtol=1e-5, atol=1e-5).item()
    except (TypeError, ValueError, AttributeError):
        same = False
    return (inner, head) if same else (whole, lambda logits: logits)
