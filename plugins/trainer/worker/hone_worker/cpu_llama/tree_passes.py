"""Training passes over a tree of rows with the hand-written Llama layers.

Every token of the tree is computed once; gradients of ids that rows share flow back through their keys and
values, so the result is exactly that of separate rows. The forward runs down the levels of a plan, the
backward up; packs of one level run in parallel. Layers below the first trained one keep nothing but the
shared keys and values, and their output (``boundary``) serves every later pass over the same tree.

Results are reduced in the order of packs, hence the same bits whatever the threads do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np

from hone_worker.cpu_llama.head import head
from hone_worker.cpu_llama.layer import LayerBackward, LayerState, layer_forward
from hone_worker.cpu_llama.threads import blas_threads
from hone_worker.cpu_llama.tree_plan import Pack, TreePlan
from hone_worker.cpu_llama.weights import LlamaWeights
from hone_worker.engine import PassResult, Slope
from hone_worker.lora import Params

T, U = TypeVar("T"), TypeVar("U")
Map = Callable[[Callable[[T], U], Sequence[T]], Iterable[U]]


@dataclass(frozen=True)
class TreePasses:
    """Passes with one model. first: the lowest layer with an adapter; scale: the adapter's; workers: threads."""

    base: LlamaWeights
    first: int
    scale: float
    workers: int

    def run(
        self, plan: TreePlan, params: Params | None, slope: Slope | None = None, only: set[int] | None = None
    ) -> PassResult:
        """See ``engine.Engine.run``."""
        with ThreadPoolExecutor(self.workers) as pool:
            map_ = partial(self._map, pool)
            self._trunk(plan, map_)
            work = _Work(self, plan, params, slope, only)
            work.forward(map_)
            if slope is not None:
                work.backward(map_)
        return work.result

    def _trunk(self, plan: TreePlan, map_: Map) -> None:
        """Computes the input of the first trained layer, once for all passes."""
        w = self.base
        if plan.boundary is None:
            plan.boundary = np.empty((len(plan.tree.ids), w.hidden), np.float32)
        shared_kv = _shared_kv(w, plan, range(self.first))

        def run(pack: Pack) -> None:
            x = w.embed[plan.tree.ids[pack.tokens]]
            angles = w.cos[pack.positions], w.sin[pack.positions]
            for index in range(self.first):
                x, state = layer_forward(w, index, x, angles, pack.parts, shared_kv[index], False)
                if pack.shared is not None:
                    shared_kv[index][pack.shared] = state.key_value(w)
            plan.boundary[pack.tokens] = x

        for packs in plan.trunk:
            list(map_(run, packs))
        plan.trunk = []

    def _map(self, pool: ThreadPoolExecutor, work: Callable[[T], U], items: Sequence[T]) -> Iterator[U]:
        """``map`` over packs, with a core for each; a pack that is alone gets them all."""
        with blas_threads(self.workers if len(items) == 1 else 1):
            yield from pool.map(work, items)


def _shared_kv(w: LlamaWeights, plan: TreePlan, layers: Iterable[int]) -> dict[int, np.ndarray]:
    shape = (plan.shared, 2 * w.kv_heads, w.head_dim)
    return {index: np.empty(shape, np.float32) for index in layers}


@dataclass
class _Done:
    """What a pack leaves for its backward."""

    pack: Pack
    saved: list[LayerState]
    final: np.ndarray
    d_final: np.ndarray | None


class _Work:
    def __init__(
        self,
        passes: TreePasses,
        plan: TreePlan,
        params: Params | None,
        slope: Slope | None,
        only: set[int] | None,
    ) -> None:
        self.plan, self.slope, self.only = plan, slope, only
        self.first, self.scale, self.params = passes.first, passes.scale, params or {}
        self.weights = passes.base.merged(params, passes.scale)
        count, w = len(plan.tree.entries), self.weights
        self.result = PassResult(np.full(count, np.nan, np.float32), np.full(count, np.nan, np.float32))
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
            x, state = layer_forward(w, index, x, angles, pack.parts, self.shared_kv[index], keep)
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
        logp, entropy, d_x = head(self.weights, x, pack.states, targets, slope)
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
            job = LayerBackward(w, index, self.params, self.scale, angles, pack.parts, self.shared_kv[index])
            d_x, d_context = job.run(done.saved[slot], d_x, extra, last=index == self.first)
            found.update(job.grads)
            d_shared[slot] = (used, d_context[used])
            done.saved[slot] = None  # type: ignore[call-overload]
        return found, d_shared


def _used(parts: Sequence[tuple[slice, np.ndarray]]) -> np.ndarray:
    return np.unique(np.concatenate([context for _, context in parts]))
