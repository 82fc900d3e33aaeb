"""Cuts a batch into micro-batches under a budget of tokens, rows that share a prefix next to each other.

A ``tree`` micro-batch computes shared ids once. A ``dense`` one has a line a row, padded, for models that need their
own attention. Everything that a pass needs is on the device before it begins: a pass never waits for the host.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from hone_worker.lightning import tree_attention
from hone_worker.packing import MIN_SHARED, Entries, Tree, pack
from hone_worker.rows import Row, common_prefix


@dataclass(frozen=True)
class MicroBatch:
    """Rows computed together. index: of the entries in the plan's tree; entries: their tensors, ``state`` pointing
    into the flattened ids; ids, positions: (1, T) for a tree, (rows, width) dense; hone_pass: a tree's attention;
    mask: (rows, width), what is no padding; tokens: how many are computed; members: the plan's rows."""

    index: np.ndarray
    members: list[int]
    entries: Entries
    ids: torch.Tensor
    positions: torch.Tensor
    tokens: int
    hone_pass: tree_attention.Pass | None = None
    mask: torch.Tensor | None = None


@dataclass(frozen=True)
class TorchPlan:
    """See ``engine.Plan``. rows: what was planned."""

    tree: Tree
    micros: list[MicroBatch] = field(default_factory=list)
    rows: Sequence[Row] = ()

    @property
    def physical(self) -> int:
        """How many tokens a pass computes."""
        return sum(micro.tokens for micro in self.micros)


def plan(rows: Sequence[Row], budget: int, window: int, device: torch.device, share: bool = True) -> TorchPlan:
    """Micro-batches of at most ``budget`` tokens (or of one row); rows longer than ``window`` are dense.

    ``share``: whether ids that rows share are computed once.
    """
    rows = list(rows)
    longest = max(len(row.ids) for row in rows)
    shared = MIN_SHARED if share and longest <= window else longest + 1
    tree = pack(rows, shared)
    micros = [
        _tree_micro(rows, members, tree, shared, device) if longest <= window else _dense(rows, members, tree, device)
        for members in cut(rows, tree, budget, shared)
    ]
    return TorchPlan(tree, micros, rows)


def cut(rows: Sequence[Row], tree: Tree, budget: int, min_shared: int) -> list[list[int]]:
    """Indices of rows computed together: along the tree's branches, as evenly as the budget allows."""
    last = np.zeros(len(rows), np.int64)
    last[tree.entries.row] = tree.entries.state  # of each row, the last one assigned
    order = sorted(range(len(rows)), key=lambda i: (int(last[i]), i))
    costs = []
    for place, row in enumerate(order):
        length = len(rows[row].ids)
        same = common_prefix(rows[order[place - 1]].ids, rows[row].ids) if place else 0
        costs.append((length, length - same if same >= min_shared else length))
    total = sum(own for _, own in costs)
    target = max(1, -(-total // max(1, -(-total // budget))))
    parts: list[list[int]] = []
    size = 0
    for row, (whole, own) in zip(order, costs, strict=True):
        if not parts or size + own > budget or size + own // 2 > target:
            parts.append([])
            size, own = 0, whole
        parts[-1].append(row)
        size += own
    return [sorted(part) for part in parts]


def _tree_micro(
    rows: list[Row], members: list[int], whole: Tree, min_shared: int, device: torch.device
) -> MicroBatch:
    tree = pack([rows[i] for i in members], min_shared)
    return MicroBatch(
        index=_index(whole, members),
        members=members,
        entries=_entries(tree.entries, tree.entries.state, device),
        ids=torch.as_tensor(tree.ids, dtype=torch.long, device=device)[None],
        positions=tree_attention.depths(tree, device),
        tokens=len(tree.ids),
        hone_pass=tree_attention.tree_pass(tree, device),
    )


def _dense(rows: list[Row], members: list[int], whole: Tree, device: torch.device) -> MicroBatch:
    index = _index(whole, members)
    width = max(len(rows[i].ids) for i in members)
    ids = np.zeros((len(members), width), np.int64)
    mask = np.zeros_like(ids)
    moved = np.zeros(len(rows), np.int64)
    for line, member in enumerate(members):
        length = len(rows[member].ids)
        ids[line, :length], mask[line, :length] = rows[member].ids, 1
        moved[member] = line * width - whole.segments[member].start
    entries = whole.entries.take(index)
    return MicroBatch(
        index=index,
        members=members,
        entries=_entries(entries, entries.state + moved[entries.row], device),
        ids=torch.as_tensor(ids, device=device),
        positions=torch.arange(width, device=device).expand(len(members), -1),
        tokens=ids.size,
        mask=torch.as_tensor(mask, device=device),
    )


def _index(whole: Tree, members: list[int]) -> np.ndarray:
    return np.flatnonzero(np.isin(whole.entries.row, members))


def _entries(entries: Entries, state: np.ndarray, device: torch.device) -> Entries:
    values = {name: getattr(entries, name) for name in Entries.__dataclass_fields__} | {"state": state}
    return Entries(
        **{
            name: torch.as_tensor(value, device=device).long() if value.dtype.kind == "i" else torch.as_tensor(
                value, dtype=torch.float32, device=device
            )
            for name, value in values.items()
        }
    )
