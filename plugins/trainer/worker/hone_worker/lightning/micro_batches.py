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
    mask: (rows, width), what is no padding; tokens: how many are computed; members: the plan's rows; recompute:
    whether the backward computes layers again instead of keeping what they made; columns: the columns of ids after
    which something is predicted; picked: of each entry, where its state is in (rows, columns) flattened."""

    index: np.ndarray
    members: list[int]
    entries: Entries
    ids: torch.Tensor
    positions: torch.Tensor
    tokens: int
    recompute: bool
    columns: torch.Tensor
    picked: torch.Tensor
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


@dataclass(frozen=True)
class Budget:
    """At most so many tokens a micro-batch; recompute: see ``MicroBatch``; cost: of a token, where layers are computed
    once it is 1."""

    tokens: int
    recompute: bool = False
    cost: float = 1.0


def plan(
    rows: Sequence[Row], budgets: Sequence[Budget], window: int, device: torch.device, share: bool = True
) -> TorchPlan:
    """Micro-batches under the budget that costs least; one row may exceed it. Rows longer than ``window`` are dense.

    ``share``: whether ids that rows share are computed once.
    """
    rows = list(rows)
    longest = max(len(row.ids) for row in rows)
    sparse = longest <= window
    shared = MIN_SHARED if share and sparse else longest + 1
    tree = pack(rows, shared)
    cuts = [
        (budget, *(cut(rows, tree, budget.tokens, shared) if sparse else cut_padded(rows, budget.tokens)))
        for budget in budgets
    ]
    # A row that is longer than what fits is computed nevertheless, where most fits.
    chosen, parts, _ = min(cuts, key=lambda c: (max(0, longest - c[0].tokens), c[2] * c[0].cost))
    make = _tree_micro if sparse else _dense
    return TorchPlan(tree, [make(rows, members, tree, shared, device, chosen.recompute) for members in parts], rows)


def cut(rows: Sequence[Row], tree: Tree, budget: int, min_shared: int) -> tuple[list[list[int]], int]:
    """Indices of rows computed together, along the tree's branches, as evenly as the budget allows; and how many
    tokens that computes, but for padding."""
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
    size, computed = 0, 0
    for row, (whole, own) in zip(order, costs, strict=True):
        if not parts or size + own > budget or size + own // 2 > target:
            parts.append([])
            size, own = 0, whole
        parts[-1].append(row)
        size, computed = size + own, computed + own
    return [sorted(part) for part in parts], computed


def cut_padded(rows: Sequence[Row], budget: int) -> tuple[list[list[int]], int]:
    """The same for dense micro-batches: rows of like length together; padding counts."""
    parts: list[list[int]] = []
    for row in sorted(range(len(rows)), key=lambda i: (len(rows[i].ids), i)):
        if not parts or len(rows[row].ids) * (len(parts[-1]) + 1) > budget:
            parts.append([])
        parts[-1].append(row)
    return [sorted(part) for part in parts], sum(max(len(rows[i].ids) for i in part) * len(part) for part in parts)


def _tree_micro(
    rows: list[Row], members: list[int], whole: Tree, min_shared: int, device: torch.device, recompute: bool
) -> MicroBatch:
    tree = pack([rows[i] for i in members], min_shared)
    return MicroBatch(
        index=_index(whole, members),
        members=members,
        entries=_entries(tree.entries, tree.entries.state, device),
        recompute=recompute,
        **_kept(tree.entries.state, len(tree.ids), device),
        ids=torch.as_tensor(tree.ids, dtype=torch.long, device=device)[None],
        positions=tree_attention.depths(tree, device),
        tokens=len(tree.ids),
        hone_pass=tree_attention.tree_pass(tree, device),
    )


def _dense(
    rows: list[Row], members: list[int], whole: Tree, _: int, device: torch.device, recompute: bool
) -> MicroBatch:
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
    state = entries.state + moved[entries.row]
    return MicroBatch(
        index=index,
        members=members,
        entries=_entries(entries, state, device),
        recompute=recompute,
        **_kept(state, width, device),
        ids=torch.as_tensor(ids, device=device),
        positions=torch.arange(width, device=device).expand(len(members), -1),
        tokens=ids.size,
        mask=torch.as_tensor(mask, device=device),
    )


def _kept(state: np.ndarray, width: int, device: torch.device) -> dict[str, torch.Tensor]:
    columns, place = np.unique(state % width, return_inverse=True)
    picked = state // width * len(columns) + place
    return {"columns": torch.as_tensor(columns, device=device), "picked": torch.as_tensor(picked, device=device)}


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
