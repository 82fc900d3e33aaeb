"""Training passes over a tree of rows with the hand-written Llama layers.

Every token of the tree is computed once; gradients of ids that rows share flow back through
their keys and values, so the result is exactly that of separate rows. The tree is cut into
packs (a unit of work of one thread): the shared segments level by level, then the leaves. The
forward runs down the levels, the backward up; packs of one level run in parallel. Layers below
the first trained one keep nothing but the shared keys and values, and their output
(``boundary``) serves every later pass over the same tree.

Results are reduced in the order of packs, hence the same bits whatever the threads do.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np

from hone_worker.mlx import blas, grads
from hone_worker.mlx.hidden import HiddenStore
from hone_worker.mlx.llama import LlamaWeights
from hone_worker.packing import Result, Slope, Tree, balance, pack
from hone_worker.trajectory import Row

PACK_TOKENS = 384
T, U = TypeVar("T"), TypeVar("U")
Map = Callable[[Callable[[T], U], Sequence[T]], Iterable[U]]


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
class Plan:
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


def plan(tree: Tree, workers: int, pack_tokens: int = PACK_TOKENS, hidden: HiddenStore | None = None) -> Plan:
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
    return Plan(tree, cut(everything), cut(missing), count, boundary)


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


def _cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


class Cascade:
    """Passes over trees with one model. ``first``: the lowest layer with an adapter."""

    def __init__(self, base: LlamaWeights, first: int, scale: float, workers: int | None = None) -> None:
        self.base, self.first, self.scale = base, first, scale
        self.workers = workers or _cores()
        self.hidden: HiddenStore | None = None

    def plan(self, rows: Sequence[Row]) -> Plan:
        """Prepares rows for any number of passes."""
        return plan(pack(rows), self.workers, hidden=self.hidden)

    def run(
        self,
        plan: Plan,
        params: dict[str, np.ndarray] | None,
        slope: Slope | None = None,
        only: set[int] | None = None,
    ) -> Result:
        """logp of every entry under the adapter ``params`` (None: the base model).

        With ``slope`` (entry indices, logp) → ∂L/∂logp also the gradients. ``only``: the rows
        (indices) whose leaves are computed; for passes without gradient.
        """
        with ThreadPoolExecutor(self.workers) as pool:
            self._trunk(plan, partial(self._map, pool))
            work = _Work(self, plan, params, slope, only)
            work.forward(partial(self._map, pool))
            if slope is not None:
                work.backward(partial(self._map, pool))
        return work.result

    def _trunk(self, plan: Plan, map_: Map) -> None:
        """Computes the input of the first trained layer, once for all passes."""
        w = self.base
        if plan.boundary is None:
            plan.boundary = np.empty((len(plan.tree.ids), w.hidden), np.float32)
        shared_kv = _shared_kv(w, plan, range(self.first))

        def run(pack: Pack) -> None:
            x = w.embed[plan.tree.ids[pack.tokens]]
            angles = w.cos[pack.positions], w.sin[pack.positions]
            for index in range(self.first):
                x, state = grads.layer_forward(w, index, x, angles, pack.parts, shared_kv[index], False)
                if pack.shared is not None:
                    shared_kv[index][pack.shared] = state.key_value(w)
            plan.boundary[pack.tokens] = x

        for packs in plan.trunk:
            list(map_(run, packs))
        plan.trunk = []

    def _map(self, pool: ThreadPoolExecutor, work: Callable[[T], U], items: Sequence[T]) -> Iterator[U]:
        """``map`` over packs, with a core for each; a pack that is alone gets them all."""
        with blas.numpy_threads(self.workers if len(items) == 1 else 1):
            yield from pool.map(work, items)


def _shared_kv(w: LlamaWeights, plan: Plan, layers: Iterable[int]) -> dict[int, np.ndarray]:
    shape = (plan.shared, 2 * w.kv_heads, w.head_dim)
    return {index: np.empty(shape, np.float32) for index in layers}


@dataclass
class _Done:
    """What a pack leaves for its backward."""

    pack: Pack
    saved: list[grads.LayerState]
    final: np.ndarray
    d_final: np.ndarray | None


class _Work:
    def __init__(
        self,
        cascade: Cascade,
        plan: Plan,
        params: dict[str, np.ndarray] | None,
        slope: Slope | None,
        only: set[int] | None,
    ) -> None:
        self.plan, self.slope, self.only = plan, slope, only
        self.first, self.scale, self.params = cascade.first, cascade.scale, params or {}
        self.weights = cascade.base.merged(params, cascade.scale)
        count, w = len(plan.tree.entries), self.weights
        self.result = Result(np.full(count, np.nan, np.float32), np.full(count, np.nan, np.float32))
        self.shared_kv = _shared_kv(w, plan, range(self.first, len(w.layers)))
        self.d_shared = [np.zeros_like(kv) for kv in self.shared_kv.values()] if slope else []
        self.waiting: list[list[_Done]] = []

    def forward(self, map_: Map) -> None:
        for packs in self.plan.levels[:-1]:
            self.waiting.append(list(map_(self._forward_pack, packs)))
        last = self.plan.levels[-1]
        leaves = [p for p in last if self._wanted(p)]
        if self.slope is None:
            list(map_(self._forward_pack, leaves))
        else:
            # A leaf's activations live only as long as its own backward.
            self._reduce(map_(lambda pack: self._backward_pack(self._forward_pack(pack)), leaves))

    def backward(self, map_: Map) -> None:
        for done in reversed(self.waiting):
            self._reduce(map_(self._backward_pack, done))
        self.waiting = []

    def _wanted(self, pack: Pack) -> bool:
        if self.only is None:
            return True
        rows = self.plan.tree.entries.row[pack.entries]
        return bool(self.only.intersection(rows.tolist()))

    def _reduce(self, outcomes: Iterable[tuple[dict[str, np.ndarray], list]]) -> None:
        total = self.result.grads
        for found, d_shared in outcomes:
            for name, value in found.items():
                total[name] = total[name] + value if name in total else value
            for target, (where, value) in zip(self.d_shared, d_shared, strict=False):
                target[where] += value

    def _forward_pack(self, pack: Pack) -> _Done:
        w = self.weights
        x = self.plan.boundary[pack.tokens]
        angles = w.cos[pack.positions], w.sin[pack.positions]
        saved = []
        keep = self.slope is not None
        for index in range(self.first, len(w.layers)):
            x, state = grads.layer_forward(w, index, x, angles, pack.parts, self.shared_kv[index], keep)
            if pack.shared is not None:
                self.shared_kv[index][pack.shared] = state.key_value(w)
            if keep:
                saved.append(state)
        return _Done(pack, saved, x, self._head(pack, x))

    def _head(self, pack: Pack, x: np.ndarray) -> np.ndarray | None:
        if not len(pack.entries):
            return None
        targets = self.plan.tree.entries.target[pack.entries]
        slope = None if self.slope is None else lambda i, logp: self.slope(pack.entries[i], logp)
        logp, entropy, d_x = grads.head(self.weights, x, pack.states, targets, slope)
        self.result.logp[pack.entries] = logp
        self.result.entropy[pack.entries] = entropy
        return d_x

    def _backward_pack(self, done: _Done) -> tuple[dict[str, np.ndarray], list]:
        w, pack = self.weights, done.pack
        d_x = done.d_final
        if d_x is None:
            d_x = np.zeros_like(done.final)
        angles = w.cos[pack.positions], w.sin[pack.positions]
        found: dict[str, np.ndarray] = {}
        d_shared: list = [None] * len(self.d_shared)
        used = _used(pack.parts)
        for index in range(len(w.layers) - 1, self.first - 1, -1):
            slot = index - self.first
            extra = None if pack.shared is None else self.d_shared[slot][pack.shared]
            job = grads.Backward(w, index, self.params, self.scale, angles, pack.parts, self.shared_kv[index])
            d_x, d_context = job.run(done.saved[slot], d_x, extra, last=index == self.first)
            found.update(job.grads)
            d_shared[slot] = (used, d_context[used])
            done.saved[slot] = None  # type: ignore[call-overload]
        return found, d_shared


def _used(parts: Sequence[tuple[slice, np.ndarray]]) -> np.ndarray:
    return np.unique(np.concatenate([context for _, context in parts]))
