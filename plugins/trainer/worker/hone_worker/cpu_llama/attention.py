"""Keys, values and attention of the sampler's rows, in numpy.

A row's attention has two parts under one softmax: the prefix that it shares with other rows, by
one product for all of them, and its own tokens. Everything that does not depend on the layer is
prepared once a pass (``Group``), because between the products Python itself is the cost.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from hone_worker.cpu_llama.hidden_states import ROOT
from hone_worker.cpu_llama.weights import LlamaWeights

_GROWTH = 32


@dataclass(frozen=True, eq=False)
class Prefix:
    """Tokens that several rows begin with. keys: (layers, kv_heads, d, length); values: (layers,
    kv_heads, length, d); key: of its ids in a ``HiddenStates``."""

    keys: np.ndarray
    values: np.ndarray
    key: int = ROOT

    @property
    def length(self) -> int:
        return self.values.shape[2]


@dataclass(eq=False)
class Row:
    """One sequence: its prefix, and ``length`` own tokens in kv (layers, 2, kv_heads, room, d);
    key: of all its ids in a ``HiddenStates``."""

    prefix: Prefix | None
    kv: np.ndarray
    length: int = 0
    key: int = ROOT

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
class Scratch:
    """Memory that lives from pass to pass: fresh pages cost more than the arithmetic."""

    arrays: dict[str, np.ndarray] = field(default_factory=dict)

    def take(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        size = int(np.prod(shape))
        held = self.arrays.get(name)
        if held is None or held.size < size or held.size > 8 * size + 4_000_000:
            held = self.arrays[name] = np.zeros(size, np.float32)
        return held[:size].reshape(shape)


class Group:
    """Rows with one prefix that each take one token in this pass, prepared for every layer.

    A scores row holds the prefix, the row's own tokens (padded to the longest), and last the new
    token, whose key and value are stored into the rows only after the pass.
    """

    def __init__(self, rows: list[Row], start: int, w: LlamaWeights, scratch: Scratch) -> None:
        self.rows, self.span = rows, slice(start, start + len(rows))
        self._prefix = rows[0].prefix
        before = self._prefix.length if self._prefix else 0
        count, groups, d = len(rows), w.heads // w.kv_heads, w.head_dim
        longest = max(row.length for row in rows)
        self._heads, self._kv_heads, self._before = w.heads, w.kv_heads, before
        self._query = scratch.take("query", (w.kv_heads, count, groups, d))
        self._scores = scratch.take("scores", (w.kv_heads, count, groups, before + longest + 1))
        self._answer = scratch.take("answer", self._query.shape)
        # Not scratch: it must outlive the other groups of this thread, until ``store``.
        self._fresh = np.empty((len(w.layers), 2, w.kv_heads, count, d), np.float32)
        flat = (w.kv_heads, count * groups, -1)
        self._flat_query, self._flat_answer = self._query.reshape(flat), self._answer.reshape(flat)
        self._flat_scores = self._scores.reshape(flat)[..., :before]
        self._keys, self._values, self._pads = [], [], []
        for i, row in enumerate(rows):
            end = before + row.length
            scores = self._scores[:, i, :, before:end]
            self._keys.append((self._query[:, i], row.kv[:, 0, :, : row.length].transpose(0, 1, 3, 2), scores))
            self._values.append((scores, row.kv[:, 1, :, : row.length], self._answer[:, i]))
            if row.length < longest:
                self._pads.append(self._scores[:, i, :, end:-1])

    def attend(self, index: int, heads: np.ndarray, mixed: np.ndarray) -> None:
        """Layer ``index``. heads: (rows, q + k + v, d), already rotated; mixed: (rows, heads · d)."""
        kv_heads, count, groups, d = self._query.shape
        self._query[...] = heads[:, : self._heads].reshape(count, kv_heads, groups, d).transpose(1, 0, 2, 3)
        fresh = self._fresh[index]
        fresh[...] = heads[:, self._heads :].reshape(count, 2, kv_heads, d).transpose(1, 2, 0, 3)
        if self._prefix is not None:
            np.matmul(self._flat_query, self._prefix.keys[index], out=self._flat_scores)
        for query, keys, scores in self._keys:
            np.matmul(query, keys[index], out=scores)
        for pad in self._pads:
            pad.fill(-np.inf)
        np.einsum("hrgd,hrd->hrg", self._query, fresh[0], out=self._scores[..., -1])
        total = _exponentials(self._scores)
        for scores, values, answer in self._values:
            np.matmul(scores, values[index], out=answer)
        if self._prefix is not None:
            self._flat_answer += self._flat_scores @ self._prefix.values[index]
        self._answer += self._scores[..., -1:] * fresh[1][:, :, None]
        self._answer /= total
        mixed.reshape(count, kv_heads, groups, d)[...] = self._answer.transpose(1, 0, 2, 3)

    def store(self) -> None:
        """Puts the new keys and values into the rows, which have room for them."""
        for i, row in enumerate(self.rows):
            row.kv[:, :, :, row.length] = self._fresh[:, :, :, i]


def attend_many(row: Row, index: int, heads: np.ndarray, mixed: np.ndarray, scratch: Scratch) -> None:
    """Several new tokens of one row, each seeing what is before it, in layer ``index``.

    heads: (tokens, q + k + v, d), already rotated; mixed: (tokens, heads · d). Keys and values go
    into the row, whose ``length`` the caller advances after the last layer.
    """
    before = row.prefix.length if row.prefix else 0
    own, start = row.kv[index], row.length
    kv_heads, d = own.shape[1], own.shape[3]
    count, total_heads = heads.shape[:2]
    groups = total_heads // kv_heads - 2
    end = start + count
    own[0, :, start:end] = heads[:, -2 * kv_heads : -kv_heads].transpose(1, 0, 2)
    own[1, :, start:end] = heads[:, -kv_heads:].transpose(1, 0, 2)
    query = scratch.take("many_query", (kv_heads, groups, count, d))
    query[...] = heads[:, : -2 * kv_heads].reshape(count, kv_heads, groups, d).transpose(1, 2, 0, 3)
    query = query.reshape(kv_heads, groups * count, d)
    scores = scratch.take("many_scores", (kv_heads, groups * count, before + end))
    if row.prefix is not None:
        np.matmul(query, row.prefix.keys[index], out=scores[..., :before])
    np.matmul(query, own[0, :, :end].transpose(0, 2, 1), out=scores[..., before:])
    ahead = scores.reshape(kv_heads, groups, count, -1)[..., before + start :]
    ahead[..., np.triu(np.ones((count, count), bool), 1)] = -np.inf
    total = _exponentials(scores)
    answer = scores[..., before:] @ own[1, :, :end]
    if row.prefix is not None:
        answer += scores[..., :before] @ row.prefix.values[index]
    answer /= total
    mixed.reshape(count, kv_heads, groups, d)[...] = answer.reshape(kv_heads, groups, count, d).transpose(2, 0, 1, 3)


def _exponentials(scores: np.ndarray) -> np.ndarray:
    """exp(scores - max) over the last axis, in place; returns the sums, last axis kept."""
    scores -= scores.max(axis=-1, keepdims=True)
    np.exp(scores, out=scores)
    return scores.sum(axis=-1, keepdims=True)
