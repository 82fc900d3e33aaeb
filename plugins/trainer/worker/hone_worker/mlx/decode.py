"""The sampler's forward pass for Llama-shaped models on a CPU, in numpy.

``LlamaDecoder.forward`` advances any number of rows by any number of tokens each, in one pass:
rows that decode one token and rows that read a prompt share every matrix product. Each ``Row``
owns the keys and values of its own tokens and may continue a ``Prefix`` (system prompt and
tools) that was computed once and is attended to by one product for all its rows. The adapter is
merged into the weights when a policy is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np

from hone_worker.mlx import blas, ops
from hone_worker.mlx.llama import LlamaLayer, LlamaWeights
from hone_worker.mlx.panels import ROW_UNIT, Panels, Team, has_small_kernels, share

_GROWTH = 32


@dataclass(frozen=True, eq=False)
class Prefix:
    """Keys and values (layers, 2, kv_heads, length, d) of tokens that several rows begin with."""

    kv: np.ndarray

    @property
    def length(self) -> int:
        return self.kv.shape[3]

    @property
    def bytes(self) -> int:
        return self.kv.nbytes


@dataclass(eq=False)
class Row:
    """One sequence: its prefix, and ``length`` own tokens in kv (layers, 2, kv_heads, room, d)."""

    prefix: Prefix | None
    kv: np.ndarray
    length: int = 0

    @property
    def position(self) -> int:
        return self.length + (self.prefix.length if self.prefix else 0)

    @property
    def bytes(self) -> int:
        return self.kv.nbytes

    def reserve(self, tokens: int) -> None:
        """Makes room for ``tokens`` more."""
        layers, two, heads, room, d = self.kv.shape
        wanted = self.length + tokens
        if wanted <= room:
            return
        grown = np.empty((layers, two, heads, -(-wanted // _GROWTH) * _GROWTH, d), np.float32)
        grown[:, :, :, : self.length] = self.kv[:, :, :, : self.length]
        self.kv = grown


@dataclass
class _Layer:
    qkv: Panels
    out: Panels
    gate: Panels
    up: Panels
    down: Panels


@dataclass
class _Batch:
    """The tokens of one pass, one-token rows first and sorted by prefix, then padding."""

    rows: list[Row]
    starts: list[int]
    counts: list[int]
    singles: int
    ids: np.ndarray
    cos: np.ndarray
    sin: np.ndarray
    last: list[int]


@dataclass
class _Scratch:
    """Memory that lives from pass to pass: fresh pages cost more than the arithmetic."""

    arrays: dict[tuple[str, int], np.ndarray] = field(default_factory=dict)

    def take(self, name: str, shape: tuple[int, ...], owner: int = 0) -> np.ndarray:
        size = int(np.prod(shape))
        held = self.arrays.get((name, owner))
        if held is None or held.size < size or held.size > 8 * size + 4_000_000:
            held = self.arrays[name, owner] = np.empty(size, np.float32)
        return held[:size].reshape(shape)


class LlamaDecoder:
    """A policy's weights, packed for decoding. Not thread-safe: one caller at a time."""

    def __init__(self, base: LlamaWeights, narrow: bool | None = None) -> None:
        self.base = base
        self._narrow = has_small_kernels() if narrow is None else narrow
        self._team = Team()
        self._scratch = _Scratch()
        self._adapted: set[int] = set()
        self._layers = [self._pack(layer) for layer in base.layers]
        self._head = self._panels(base.head * base.norm)

    def load(self, params: Mapping[str, np.ndarray] | None, scale: float) -> None:
        """Makes the base with this adapter the policy; rows and prefixes made before are void."""
        params = params or {}
        for index in range(len(self._layers)):
            mine = {key: value for key, value in params.items() if f"layers.{index}." in key}
            if mine:
                self._layers[index] = self._pack(self.base.merged(mine, scale).layers[index])
                self._adapted.add(index)
            elif index in self._adapted:
                self._layers[index] = self._pack(self.base.layers[index])
                self._adapted.discard(index)

    def row(self, prefix: Prefix | None = None) -> Row:
        w = self.base
        return Row(prefix, np.empty((len(w.layers), 2, w.kv_heads, 0, w.head_dim), np.float32))

    def prefix(self, ids: Sequence[int]) -> Prefix:
        """Computes the keys and values of ``ids`` for rows to share."""
        row = self.row()
        row.reserve(len(ids))
        for start in range(0, len(ids), 512):
            self.forward([row], [ids[start : start + 512]], [False])
        return Prefix(np.ascontiguousarray(row.kv[:, :, :, : row.length]))

    def forward(
        self, rows: Sequence[Row], new: Sequence[Sequence[int]], wanted: Sequence[bool]
    ) -> np.ndarray:
        """Appends ``new[i]`` (not empty) to ``rows[i]``. Returns fp32 logits (wanted rows, vocab)
        after the last token of each wanted row, in the order given; valid until the next call."""
        order = sorted(range(len(rows)), key=lambda i: (len(new[i]) > 1, id(rows[i].prefix)))
        batch = self._batch([rows[i] for i in order], [new[i] for i in order])
        with blas.single_threaded():
            x = self.base.embed[batch.ids]
            for index, layer in enumerate(self._layers):
                self._block(x, index, layer, batch)
            for row, count in zip(batch.rows, batch.counts, strict=True):
                row.length += count
            last = {i: batch.last[place] for place, i in enumerate(order)}
            picked = [last[i] for i in range(len(rows)) if wanted[i]]
            return self._logits(x, picked)

    def _panels(self, weight: np.ndarray) -> Panels:
        return Panels(weight, self._team.size, self._narrow)

    def _pack(self, layer: LlamaLayer) -> _Layer:
        w = self.base
        # The norms' weights and the attention's scale go into the maps that follow them.
        qkv = layer.qkv * layer.input_norm
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
        padded = total if total <= ROW_UNIT else -(-total // ROW_UNIT) * ROW_UNIT
        ids, positions = np.zeros(padded, np.int64), np.zeros(padded, np.int64)
        starts, start = [], 0
        for row, tokens in zip(rows, new, strict=True):
            row.reserve(len(tokens))
            ids[start : start + len(tokens)] = tokens
            positions[start : start + len(tokens)] = np.arange(row.position, row.position + len(tokens))
            starts.append(start)
            start += len(tokens)
        return _Batch(
            rows=rows,
            starts=starts,
            counts=counts,
            singles=sum(1 for count in counts if count == 1),
            ids=ids,
            cos=self.base.cos[positions],
            sin=self.base.sin[positions],
            last=[start + count - 1 for start, count in zip(starts, counts, strict=True)],
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
            s = take("sigmoid", g.shape, part)
            np.negative(g, out=s)
            np.minimum(s, 80.0, out=s)
            np.exp(s, out=s)
            s += 1.0
            g *= u
            g /= s

        self._team.run(activate)
        self._multiply(layer.down, gate, update)
        x += update

    def _multiply(self, panels: Panels, x: np.ndarray, out: np.ndarray) -> None:
        size = self._team.size
        self._team.run(lambda part: panels.multiply(x, out, share(panels.count, part, size)))

    def _attend(self, part: int, index: int, heads: np.ndarray, mixed: np.ndarray, batch: _Batch) -> None:
        """This thread's share of the rows: rotation, keys and values, attention into ``mixed``."""
        w, size = self.base, self._team.size
        turned = w.heads + w.kv_heads
        singles = share(batch.singles, part, size)
        if singles.stop > singles.start:
            ops.rotate(heads[singles, :turned], batch.cos[singles], batch.sin[singles])
            place = singles.start
            for _, group in groupby(batch.rows[singles], key=lambda row: id(row.prefix)):
                rows = list(group)
                span = slice(place, place + len(rows))
                self._attend_singles(part, index, rows, heads[span], mixed[span])
                place += len(rows)
        for place in _fair(batch.counts, batch.singles, part, size):
            span = slice(batch.starts[place], batch.starts[place] + batch.counts[place])
            ops.rotate(heads[span, :turned], batch.cos[span], batch.sin[span])
            self._attend_many(part, index, batch.rows[place], heads[span], mixed[span])

    def _attend_singles(
        self, part: int, index: int, rows: list[Row], heads: np.ndarray, mixed: np.ndarray
    ) -> None:
        """One token of each of several rows with the same prefix. heads: (rows, q + k + v, d)."""
        w, count = self.base, len(rows)
        groups, d = w.heads // w.kv_heads, w.head_dim
        shared = rows[0].prefix.kv[index] if rows[0].prefix else None
        before = 0 if shared is None else shared.shape[2]
        longest = max(row.length for row in rows) + 1
        take = self._scratch.take
        query = take("query", (w.kv_heads, count, groups, d), part)
        query[...] = heads[:, : w.heads].reshape(count, w.kv_heads, groups, d).transpose(1, 0, 2, 3)
        scores = take("scores", (w.kv_heads, count, groups, before + longest), part)
        answer = take("answer", query.shape, part)
        flat = (w.kv_heads, count * groups, -1)
        if shared is not None:
            np.matmul(query.reshape(flat), shared[0].transpose(0, 2, 1), out=scores.reshape(flat)[..., :before])
        for i, row in enumerate(rows):
            own, end = row.kv[index], row.length + 1
            own[0, :, row.length] = heads[i, w.heads : w.heads + w.kv_heads]
            own[1, :, row.length] = heads[i, w.heads + w.kv_heads :]
            np.matmul(query[:, i], own[0, :, :end].transpose(0, 2, 1), out=scores[:, i, :, before : before + end])
            if end < longest:
                scores[:, i, :, before + end :] = -np.inf
        total = _exponentials(scores)
        for i, row in enumerate(rows):
            end = row.length + 1
            np.matmul(scores[:, i, :, before : before + end], row.kv[index, 1, :, :end], out=answer[:, i])
        if shared is not None:
            answer += (scores.reshape(flat)[..., :before] @ shared[1]).reshape(answer.shape)
        answer /= total
        mixed.reshape(count, w.kv_heads, groups, d)[...] = answer.transpose(1, 0, 2, 3)

    def _attend_many(self, part: int, index: int, row: Row, heads: np.ndarray, mixed: np.ndarray) -> None:
        """Several new tokens of one row, each seeing what is before it. heads: (tokens, q + k + v, d)."""
        w, count = self.base, len(heads)
        groups, d = w.heads // w.kv_heads, w.head_dim
        shared = row.prefix.kv[index] if row.prefix else None
        before = 0 if shared is None else shared.shape[2]
        own, start, end = row.kv[index], row.length, row.length + count
        own[0, :, start:end] = heads[:, w.heads : w.heads + w.kv_heads].transpose(1, 0, 2)
        own[1, :, start:end] = heads[:, w.heads + w.kv_heads :].transpose(1, 0, 2)
        take = self._scratch.take
        query = take("query", (w.kv_heads, groups, count, d), part)
        query[...] = heads[:, : w.heads].reshape(count, w.kv_heads, groups, d).transpose(1, 2, 0, 3)
        query = query.reshape(w.kv_heads, groups * count, d)
        scores = take("scores", (w.kv_heads, groups * count, before + end), part)
        if shared is not None:
            np.matmul(query, shared[0].transpose(0, 2, 1), out=scores[..., :before])
        np.matmul(query, own[0, :, :end].transpose(0, 2, 1), out=scores[..., before:])
        ahead = scores.reshape(w.kv_heads, groups, count, -1)[..., before + start :]
        ahead[..., np.triu(np.ones((count, count), bool), 1)] = -np.inf
        total = _exponentials(scores)
        answer = scores[..., before:] @ own[1, :, :end]
        if shared is not None:
            answer += scores[..., :before] @ shared[1]
        answer /= total
        mixed.reshape(count, w.kv_heads, groups, d)[...] = answer.reshape(
            w.kv_heads, groups, count, d).transpose(2, 0, 1, 3)

    def _logits(self, x: np.ndarray, picked: list[int]) -> np.ndarray:
        rows = len(picked)
        padded = rows if rows <= ROW_UNIT else -(-rows // ROW_UNIT) * ROW_UNIT
        chosen = x[picked + [0] * (padded - rows)]
        logits = self._scratch.take("logits", (padded, self._head.outer))
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


def _exponentials(scores: np.ndarray) -> np.ndarray:
    """exp(scores - max) over the last axis, in place; returns the sums, last axis kept."""
    scores -= scores.max(axis=-1, keepdims=True)
    np.exp(scores, out=scores)
    return scores.sum(axis=-1, keepdims=True)


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
