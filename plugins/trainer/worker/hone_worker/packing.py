"""Packs rows into a tree of segments, so that ids shared by rows are computed once.

A segment is a run of tokens with one parent; its context is the chain of its ancestors. Two
rows share a segment when they begin with the same ids, which is exact: a hidden state depends
on the ids up to it and nothing else. What is trained stays per row: an :class:`Entry` points at
the token whose hidden state predicts the target, and two rows may point at the same one.
NumPy only: every engine shares it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from hone_worker.rows import Row

# Sharing fewer ids than this costs more in small matrix products than it saves.
MIN_SHARED = 16


@dataclass(frozen=True)
class Segment:
    """Tokens [start, stop) of the tree at positions depth, depth + 1, …; parent: index or -1."""

    start: int
    stop: int
    depth: int
    parent: int
    shared: bool


@dataclass(frozen=True)
class Entries:
    """What is trained, one element a (row, token). state: index of the token whose hidden state
    predicts target; row: index of the row; sequence: index of its trajectory; policy_version: what sampled it."""

    state: np.ndarray
    target: np.ndarray
    behaviour: np.ndarray
    advantage: np.ndarray
    weight: np.ndarray
    row: np.ndarray
    sequence: np.ndarray
    policy_version: np.ndarray

    def __len__(self) -> int:
        return len(self.state)

    def take(self, index: np.ndarray) -> Entries:
        """The entries at ``index``."""
        return Entries(*(getattr(self, name)[index] for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class Tree:
    """ids: all tokens of all segments; segments: parents before children; entries: see there;
    logical: how many tokens the rows have when nothing is shared."""

    ids: np.ndarray
    segments: list[Segment]
    entries: Entries
    logical: int

    def ancestors(self, index: int) -> list[int]:
        """The chain of segments above ``index``, root first."""
        chain = []
        while (index := self.segments[index].parent) >= 0:
            chain.append(index)
        return chain[::-1]


class _Grower:
    def __init__(self, rows: Sequence[Row], min_shared: int) -> None:
        self.rows, self.min_shared = rows, min_shared
        self.ids: list[np.ndarray] = []
        self.segments: list[Segment] = []
        self.size = 0
        # Of each row: the tree's token index of each of its tokens.
        self.places = [np.empty(len(row.ids), np.int64) for row in rows]

    def grow(self, members: list[int], depth: int, parent: int) -> None:
        buckets: dict[bytes, list[int]] = {}
        for member in members:
            rest = self.rows[member].ids[depth:]
            if not rest.size:
                continue
            head = rest[: self.min_shared].tobytes()
            key = head if rest.size >= self.min_shared else head + b"#%d" % member
            buckets.setdefault(key, []).append(member)
        for bucket in buckets.values():
            stop = self._shared_until(bucket, depth)
            index = self._add(bucket, depth, stop, parent)
            if len(bucket) > 1:
                self.grow(bucket, stop, index)

    def _shared_until(self, bucket: list[int], depth: int) -> int:
        first = self.rows[bucket[0]].ids
        stop = len(first)
        for member in bucket[1:]:
            other = self.rows[member].ids
            n = min(stop, len(other))
            differ = np.flatnonzero(first[depth:n] != other[depth:n])
            stop = depth + int(differ[0]) if differ.size else n
        return stop

    def _add(self, bucket: list[int], depth: int, stop: int, parent: int) -> int:
        count = stop - depth
        for member in bucket:
            self.places[member][depth:stop] = np.arange(self.size, self.size + count)
        self.ids.append(self.rows[bucket[0]].ids[depth:stop])
        self.segments.append(Segment(self.size, self.size + count, depth, parent, len(bucket) > 1))
        self.size += count
        return len(self.segments) - 1


def pack(rows: Sequence[Row], min_shared: int = MIN_SHARED) -> Tree:
    """The tree of ``rows`` (each trains something); ``min_shared`` larger than any row switches sharing off."""
    if not rows:
        raise ValueError("no rows to pack")
    # Nothing depends on what follows the last state that predicts a target.
    trimmed = [replace(row, ids=row.ids[: int(np.flatnonzero(row.mask)[-1])]) for row in rows]
    grower = _Grower(trimmed, min_shared)
    grower.grow(list(range(len(rows))), 0, -1)
    ids = np.concatenate(grower.ids)
    parts = []
    for index, row in enumerate(rows):
        trained = np.flatnonzero(row.mask)
        count = len(trained)
        parts.append(
            Entries(
                state=grower.places[index][trained - 1],
                target=row.ids[trained],
                behaviour=row.logprobs[trained],
                advantage=np.full(count, row.advantage, np.float32),
                weight=np.full(count, row.weight, np.float32),
                row=np.full(count, index),
                sequence=np.full(count, row.sequence),
                policy_version=np.full(count, row.policy_version),
            )
        )
    names = Entries.__dataclass_fields__
    entries = Entries(*(np.concatenate([getattr(p, n) for p in parts]) for n in names))
    return Tree(ids, grower.segments, entries, sum(len(row.ids) for row in rows))


def balance(sizes: Sequence[int], bins: int) -> list[list[int]]:
    """Distributes items over ``bins`` by size, largest first onto the lightest bin (stable)."""
    loads, out = [0] * bins, [[] for _ in range(bins)]
    for item in sorted(range(len(sizes)), key=lambda i: (-sizes[i], i)):
        lightest = min(range(bins), key=lambda b: (loads[b], b))
        loads[lightest] += sizes[item]
        out[lightest].append(item)
    return [sorted(items) for items in out]
