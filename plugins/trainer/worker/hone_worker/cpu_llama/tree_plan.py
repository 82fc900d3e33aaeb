"""Cuts a tree of rows into packs, the units of work of one thread.

The shared segments come level by level, then the leaves: a pack needs the keys and values of the levels
above it and nothing of its own level.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np

from hone_worker.cpu_llama.hidden_states import HiddenStates
from hone_worker.packing import Tree, balance

PACK_TOKENS = 384


@dataclass
class Pack:
    """One thread's work. tokens: indices into the tree; parts: (local slice, indices of the
    ancestors' tokens among the shared tokens) of each segment; shared: where this pack's tokens
    lie among the shared ones (None for leaves); entries: what is trained here."""

    tokens: np.ndarray
    positions: np.ndarray
    parts: list[tuple[slice, np.ndarray]]
    shared: np.ndarray | None
    entries: np.ndarray
    states: np.ndarray


@dataclass
class TreePlan:
    """The packs of a tree by level, for the trained layers and for the frozen ones below
    (``trunk``, emptied when done); how many tokens are shared; the trained layers' input."""

    tree: Tree
    levels: list[list[Pack]]
    trunk: list[list[Pack]]
    shared: int
    boundary: np.ndarray | None = None

    @property
    def physical(self) -> int:
        """How many tokens are computed."""
        return len(self.tree.ids)


def plan_tree(tree: Tree, workers: int, pack_tokens: int = PACK_TOKENS, hidden: HiddenStates | None = None) -> TreePlan:
    """Cuts a tree into packs; what ``workers`` is changes the cut, hence the last bits.

    States that ``hidden`` knows are not computed again.
    """
    shared_at = np.full(len(tree.ids), -1)
    count = 0
    for segment in tree.segments:
        if segment.shared:
            size = segment.stop - segment.start
            shared_at[segment.start : segment.stop] = np.arange(count, count + size)
            count += size
    everything = range(len(tree.segments))
    boundary, missing = None, list(everything)
    if hidden is not None:
        boundary, known = hidden.find(tree)
        missing = _missing(tree, known)
    cut = partial(_levels, tree, workers=workers, budget=pack_tokens, shared_at=shared_at)
    return TreePlan(tree, cut(everything), cut(missing), count, boundary)


def _missing(tree: Tree, known: np.ndarray) -> list[int]:
    """Segments with an unknown state, and their ancestors, whose keys and values they need."""
    wanted: set[int] = set()
    for index, segment in enumerate(tree.segments):
        if not known[segment.start : segment.stop].all():
            wanted.update([index, *tree.ancestors(index)])
    return sorted(wanted)


def _levels(
    tree: Tree, members: Iterable[int], workers: int, budget: int, shared_at: np.ndarray
) -> list[list[Pack]]:
    levels: dict[int, list[int]] = {}
    for index in members:
        level = len(tree.ancestors(index)) if tree.segments[index].shared else len(tree.segments)
        levels.setdefault(level, []).append(index)
    return [_cut(tree, levels[level], workers, budget, shared_at) for level in sorted(levels)]


def _cut(tree: Tree, members: list[int], workers: int, budget: int, shared_at: np.ndarray) -> list[Pack]:
    sizes = [tree.segments[i].stop - tree.segments[i].start for i in members]
    rounds = -(-sum(sizes) // (budget * workers))
    bins = [b for b in balance(sizes, min(len(members), rounds * workers)) if b]
    return [_pack(tree, [members[i] for i in b], shared_at) for b in bins]


def _pack(tree: Tree, members: list[int], shared_at: np.ndarray) -> Pack:
    tokens, positions, parts, start = [], [], [], 0
    for index in members:
        segment = tree.segments[index]
        size = segment.stop - segment.start
        tokens.append(np.arange(segment.start, segment.stop))
        positions.append(np.arange(segment.depth, segment.depth + size))
        above = [tree.segments[i] for i in tree.ancestors(index)]
        context = [shared_at[s.start : s.stop] for s in above]
        parts.append((slice(start, start + size), np.concatenate(context) if context else np.empty(0, int)))
        start += size
    flat = np.concatenate(tokens)
    local = np.full(len(tree.ids), -1)
    local[flat] = np.arange(len(flat))
    entries = np.flatnonzero(local[tree.entries.state] >= 0)
    is_shared = tree.segments[members[0]].shared
    return Pack(
        tokens=flat,
        positions=np.concatenate(positions),
        parts=parts,
        shared=shared_at[flat] if is_shared else None,
        entries=entries,
        states=local[tree.entries.state[entries]],
    )
