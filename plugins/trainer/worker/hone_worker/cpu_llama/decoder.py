"""The sampler's forward pass for Llama-shaped models on a CPU: see ``engine.Decoder``.

``LlamaDecoder.forward`` advances any number of rows by any number of tokens each, in one pass:
rows that decode one token and rows that read a prompt share every matrix product. Each ``Row``
owns the keys and values of its own tokens and may continue a ``Prefix`` (system prompt and
tools) that was computed once and is attended to by one product for all its rows. The adapter is
merged into the weights when a policy is loaded.

The logits after an id depend to the last bit on the ids up to it, on how many of them are the prefix, and on
nothing else: see ``panels`` for the maps and ``attention`` for the rest. They may differ between processors and
between numbers of threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from hone_worker.cpu_llama.attention import Group, Prefix, Row, Scratch, attend_many
from hone_worker.cpu_llama.hidden_states import HiddenStates
from hone_worker.cpu_llama.panels import Panels, has_small_kernels, padded
from hone_worker.cpu_llama.threads import Team, blas_threads, share
from hone_worker.cpu_llama.weights import LlamaLayer, LlamaWeights
from hone_worker.lora import Params, layer_of


@dataclass
class _Layer:
    qkv: Panels
    out: Panels
    gate: Panels
    up: Panels
    down: Panels


@dataclass
class _Batch:
    """The tokens of one pass: rows that take one token first, sorted by prefix, then padding.

    turns: (tokens, d/2) complex, the rotations; groups and readers: by thread, the one-token
    rows with one prefix, and the places of rows that read several tokens.
    """

    rows: list[Row]
    starts: list[int]
    counts: list[int]
    ids: np.ndarray
    turns: np.ndarray
    groups: list[list[Group]]
    readers: list[list[int]]


class LlamaDecoder:
    """A policy's weights, packed for decoding. Not thread-safe: one caller at a time.

    scale: the adapter's; small_kernels: whether BLAS has kernels for small matrices (None: as the processor
    says); states: if set, is given the input of its layer for every token that is computed.
    """

    def __init__(
        self, base: LlamaWeights, scale: float, small_kernels: bool | None = None, states: HiddenStates | None = None
    ) -> None:
        self.base, self.scale, self.states = base, scale, states
        self._small_kernels = has_small_kernels() if small_kernels is None else small_kernels
        self._team = Team()
        self._scratch = Scratch()
        self._part_scratch = [Scratch() for _ in range(self._team.size)]
        self._turns = (base.cos + 1j * base.sin).astype(np.complex64)
        self._order = _interleaved(base)
        self._adapted: set[int] = set()
        self._layers = [self._pack(layer) for layer in base.layers]
        self._head = self._panels(base.head * base.norm)
        self._least = max(map.least for layer in self._layers for map in (*vars(layer).values(), self._head))

    def load(self, params: Params | None) -> None:
        params = params or {}
        for index in range(len(self._layers)):
            mine = {name: value for name, value in params.items() if layer_of(name) == index}
            if mine:
                self._layers[index] = self._pack(self.base.merged(mine, self.scale).layers[index])
                self._adapted.add(index)
            elif index in self._adapted:
                self._layers[index] = self._pack(self.base.layers[index])
                self._adapted.discard(index)

    def row(self, prefix: Prefix | None = None) -> Row:
        return Row.empty(prefix, self.base)

    def prefix(self, ids: Sequence[int]) -> Prefix:
        row = self.row()
        row.reserve(len(ids))
        for start in range(0, len(ids), 512):
            self.forward([row], [ids[start : start + 512]], [False])
        keys, values = row.keys[..., : row.length], row.values[:, :, : row.length]
        return Prefix(np.ascontiguousarray(keys), np.ascontiguousarray(values), row.key)

    def forward(
        self, rows: Sequence[Row], new: Sequence[Sequence[int]], wanted: Sequence[bool]
    ) -> np.ndarray:
        prefixes = {row.prefix: place for place, row in reversed(list(enumerate(rows)))}
        order = sorted(range(len(rows)), key=lambda i: (len(new[i]) > 1, prefixes[rows[i].prefix]))
        batch = self._batch([rows[i] for i in order], [new[i] for i in order])
        with blas_threads(1):
            x = self.base.embed[batch.ids]
            for index, layer in enumerate(self._layers):
                if self.states is not None and index == self.states.layer:
                    self._keep_states(self.states, x, batch)
                self._block(x, index, layer, batch)
            self._team.run(lambda part: [group.store() for group in batch.groups[part]])
            for row, count in zip(batch.rows, batch.counts, strict=True):
                row.length += count
            last = {i: batch.starts[place] + batch.counts[place] - 1 for place, i in enumerate(order)}
            picked = [last[i] for i in range(len(rows)) if wanted[i]]
            return self._logits(x, picked)

    def _panels(self, weight: np.ndarray) -> Panels:
        return Panels(weight, self._team.size, self._small_kernels)

    def _pack(self, layer: LlamaLayer) -> _Layer:
        w = self.base
        # The norms' weights and the attention's scale go into the maps that follow them.
        qkv = layer.qkv[self._order] * layer.input_norm
        qkv[: w.heads * w.head_dim] *= np.float32(w.head_dim**-0.5)
        gate_up = layer.gate_up * layer.post_norm
        return _Layer(
            qkv=self._panels(qkv),
            out=self._panels(layer.out),
            gate=self._panels(gate_up[: w.inner]),
            up=self._panels(gate_up[w.inner :]),
            down=self._panels(layer.down),
        )

    def _batch(self, rows: list[Row], new: list[Sequence[int]]) -> _Batch:
        counts = [len(ids) for ids in new]
        total = sum(counts)
        lines = padded(total, self._least)
        ids, positions = np.zeros(lines, np.int64), np.zeros(lines, np.int64)
        starts, start = [], 0
        for row, tokens in zip(rows, new, strict=True):
            row.reserve(len(tokens))
            ids[start : start + len(tokens)] = tokens
            positions[start : start + len(tokens)] = np.arange(row.position, row.position + len(tokens))
            starts.append(start)
            start += len(tokens)
        singles = sum(1 for count in counts if count == 1)
        size = self._team.size
        groups: list[list[Group]] = []
        for part in range(size):
            start, groups_here = share(singles, part, size).start, []
            for _, same in groupby(rows[share(singles, part, size)], key=lambda row: id(row.prefix)):
                groups_here.append(Group(list(same), start, self.base, self._part_scratch[part]))
                start = groups_here[-1].span.stop
            groups.append(groups_here)
        return _Batch(
            rows=rows,
            starts=starts,
            counts=counts,
            ids=ids,
            turns=self._turns[positions],
            groups=groups,
            readers=[_fair(counts, singles, part, size) for part in range(size)],
        )

    def _block(self, x: np.ndarray, index: int, layer: _Layer, batch: _Batch) -> None:
        w, take, rows = self.base, self._scratch.take, len(x)
        size = self._team.size
        normed = _normalise(x, take("normed", x.shape), w.eps)
        qkv = take("qkv", (rows, (w.heads + 2 * w.kv_heads) * w.head_dim))
        self._multiply(layer.qkv, normed, qkv)
        mixed = take("mixed", (rows, w.heads * w.head_dim))
        heads = qkv.reshape(rows, w.heads + 2 * w.kv_heads, w.head_dim)
        self._team.run(lambda part: self._attend(part, index, heads, mixed, batch))
        update = take("update", x.shape)
        self._multiply(layer.out, mixed, update)
        x += update
        _normalise(x, normed, w.eps)
        gate, up = take("gate", (rows, w.inner)), take("up", (rows, w.inner))

        def activate(part: int) -> None:
            panels = share(layer.gate.count, part, size)
            columns = layer.gate.multiply(normed, gate, panels)
            layer.up.multiply(normed, up, panels)
            g, u = gate[:, columns], up[:, columns]
            s = self._part_scratch[part].take("sigmoid", g.shape)
            np.negative(g, out=s)
            np.minimum(s, 80.0, out=s)
            np.exp(s, out=s)
            s += 1.0
            g *= u
            g /= s

        self._team.run(activate)
        self._multiply(layer.down, gate, update)
        x += update

    def _keep_states(self, states: HiddenStates, x: np.ndarray, batch: _Batch) -> None:
        for row, start, count in zip(batch.rows, batch.starts, batch.counts, strict=True):
            span = slice(start, start + count)
            row.key = states.add(row.key, batch.ids[span].tolist(), x[span])

    def _multiply(self, panels: Panels, x: np.ndarray, out: np.ndarray) -> None:
        size = self._team.size
        self._team.run(lambda part: panels.multiply(x, out, share(panels.count, part, size)))

    def _attend(self, part: int, index: int, heads: np.ndarray, mixed: np.ndarray, batch: _Batch) -> None:
        """This thread's share of the rows: rotation, keys and values, attention into ``mixed``."""
        turned = self.base.heads + self.base.kv_heads
        for group in batch.groups[part]:
            _rotate(heads[group.span, :turned], batch.turns[group.span])
            group.attend(index, heads[group.span], mixed[group.span])
        for place in batch.readers[part]:
            span = slice(batch.starts[place], batch.starts[place] + batch.counts[place])
            _rotate(heads[span, :turned], batch.turns[span])
            attend_many(batch.rows[place], index, heads[span], mixed[span], self._part_scratch[part])

    def _logits(self, x: np.ndarray, picked: list[int]) -> np.ndarray:
        rows = len(picked)
        lines = padded(rows, self._least)
        chosen = x[picked + [0] * (lines - rows)]
        logits = self._scratch.take("logits", (lines, self._head.outer))
        if rows:
            self._multiply(self._head, _normalise(chosen, chosen, self.base.eps), logits)
        return logits[:rows]


def _normalise(x: np.ndarray, out: np.ndarray, eps: float) -> np.ndarray:
    """x / rms(x), without the norm's weight."""
    scale = np.einsum("ij,ij->i", x, x)
    scale /= x.shape[1]
    scale += np.float32(eps)
    np.sqrt(scale, out=scale)
    return np.divide(x, scale[:, None], out=out)


def _fair(counts: list[int], first: int, part: int, size: int) -> list[int]:
    """The rows from ``first`` on that a thread takes: longest first to the least loaded."""
    loads = [0] * size
    mine = []
    for place in sorted(range(first, len(counts)), key=lambda i: -counts[i]):
        least = loads.index(min(loads))
        loads[least] += counts[place]
        if least == part:
            mine.append(place)
    return mine


def _rotate(heads: np.ndarray, turns: np.ndarray) -> None:
    """Turns heads (tokens, heads, d) in place; in the interleaved order a pair is one number."""
    pairs = heads.view(np.complex64)
    pairs *= turns[:, None]


def _interleaved(w: LlamaWeights) -> np.ndarray:
    """The order of the qkv map's rows in which each rotated pair (i, i + d/2) is adjacent.

    Queries and keys are reordered alike, so their products stay what they are.
    """
    d = w.head_dim
    pairs = np.arange(d).reshape(2, -1).T.reshape(-1)
    turned = (w.heads + w.kv_heads) * d
    order = np.arange(turned + w.kv_heads * d)
    order[:turned] = (np.arange(0, turned, d)[:, None] + pairs).reshape(-1)
    return order
