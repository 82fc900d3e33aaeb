"""Keys, values and attention of the sampler's rows.

What a token gets depends on the ids up to it, and on how many of them are a shared prefix, but to the last bit
on nothing else: not on the other rows of a pass, nor on how many tokens are computed in one. Its scores have
three parts under one softmax: the prefix, by one product for all rows that share it; the tokens of its own row
before it; itself. They come in shapes for which every BLAS kernel that was tried adds in one order (query rows
by fours, never more than eight a product; keys and values by whole BLOCKs, never more than a SPAN), and sums
run over blocks of one size, so that padding only ever adds zeros at the end.

Everything that does not depend on the layer is prepared once a pass (``Group``), because between the products
Python itself is the cost.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field

import numpy as np

from hone_worker.cpu_llama.hidden_states import ROOT
from hone_worker.cpu_llama.weights import LlamaWeights

BLOCK = 16
SPAN = 256
SUM_BLOCK = 32
QUERY_BLOCK = 64
_FOUR = 4
_EIGHT = 8


@dataclass(frozen=True, eq=False)
class Prefix:
    """Tokens that several rows begin with. keys: (layers, kv_heads, d, length); values: (layers,
    kv_heads, length, d in whole BLOCKs); key: of its ids in a ``HiddenStates``."""

    keys: np.ndarray
    values: np.ndarray
    key: int = ROOT

    @property
    def length(self) -> int:
        return self.values.shape[2]


@dataclass(eq=False)
class Row:
    """One sequence: its prefix, and ``length`` own tokens in keys (layers, kv_heads, d, room) and values
    (layers, kv_heads, room, d in whole BLOCKs); key: of all its ids in a ``HiddenStates``. Room comes in whole
    SUM_BLOCKs, and what is not used of it is zero."""

    prefix: Prefix | None
    keys: np.ndarray
    values: np.ndarray
    length: int = 0
    key: int = ROOT

    @property
    def position(self) -> int:
        return self.length + (self.prefix.length if self.prefix else 0)

    @property
    def bytes(self) -> int:
        return self.keys.nbytes + self.values.nbytes

    @classmethod
    def empty(cls, prefix: Prefix | None, w: LlamaWeights) -> Row:
        """A row without tokens of its own."""
        keys = np.empty((len(w.layers), w.kv_heads, w.head_dim, 0), np.float32)
        values = np.empty((len(w.layers), w.kv_heads, 0, _whole(w.head_dim, BLOCK)), np.float32)
        return cls(prefix, keys, values, key=prefix.key if prefix else ROOT)

    def reserve(self, tokens: int) -> None:
        """Makes room for ``tokens`` more."""
        room, wanted = self.values.shape[2], _whole(self.length + tokens, SUM_BLOCK)
        if wanted <= room:
            return
        keys = np.zeros((*self.keys.shape[:3], wanted), np.float32)
        values = np.zeros((*self.values.shape[:2], wanted, self.values.shape[3]), np.float32)
        keys[..., : self.length] = self.keys[..., : self.length]
        values[:, :, : self.length] = self.values[:, :, : self.length]
        self.keys, self.values = keys, values


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


class PrefixPart:
    """What many query lines of one pass get from a prefix, in each layer by one product for all of them.

    query: (kv_heads, eights, 8, d), of lines (kv_heads, rows, columns); scores: (kv_heads, rows, columns,
    length); answer: (kv_heads, rows, columns, d in whole BLOCKs).
    """

    def __init__(self, prefix: Prefix, query: np.ndarray, rows: int, columns: int, scratch: Scratch) -> None:
        self._query, self._keys, self._values = query, prefix.keys[:, :, None], prefix.values[:, :, None]
        self._all_scores = scratch.take("prefix_scores", (*query.shape[:-1], prefix.length))
        self._all_answer = scratch.take("prefix_answer", (*query.shape[:-1], prefix.values.shape[-1]))
        self.scores, self.answer = (_apart(lines, rows, columns) for lines in (self._all_scores, self._all_answer))

    def score(self, index: int) -> None:
        """Fills ``scores`` in layer ``index``."""
        np.matmul(self._query, self._keys[index], out=self._all_scores)

    def mix(self, index: int) -> None:
        """Fills ``answer`` with the values, weighed by ``scores``."""
        np.matmul(self._all_scores, self._values[index], out=self._all_answer)


class Group:
    """Rows with one prefix that each take one token in this pass, prepared for every layer.

    A row's own scores are those of its tokens (padded to the longest row's SUM_BLOCKs) and, last, of the new token,
    whose key and value are stored into the rows only after the pass. Lines that only make up the fours and
    eights hold whatever was there.
    """

    def __init__(self, rows: list[Row], start: int, w: LlamaWeights, scratch: Scratch) -> None:
        self.rows, self.span = rows, slice(start, start + len(rows))
        count, d, kv_heads, groups = len(rows), w.head_dim, w.kv_heads, w.heads // w.kv_heads
        prefix = rows[0].prefix
        lines = scratch.take("lines", _eights(kv_heads, count * groups, d))
        self._lines = _apart(lines, count, groups)
        self._prefix = PrefixPart(prefix, lines, count, groups, scratch) if prefix else None
        fours, room = _whole(groups, _FOUR), _whole(max(row.length for row in rows), SUM_BLOCK)
        query = scratch.take("query", (kv_heads, count, fours, d))
        scores = scratch.take("scores", (kv_heads, count, fours, room + 1))
        answer = scratch.take("answer", (*query.shape[:-1], _whole(d, BLOCK)))
        self._query, self._scores, self._answer = (whole[:, :, :groups] for whole in (query, scores, answer))
        # Not scratch: it must outlive the other groups of this thread, until ``store``.
        self._fresh = np.empty((len(w.layers), 2, kv_heads, count, d), np.float32)
        self._keys, self._values, self._more, self._pads, self._empty = [], [], [], [], []
        for i, row in enumerate(rows):
            for some in _spans(row.length):
                own = scores[:, i, :, some]
                self._keys.append((query[:, i], row.keys[..., some], own))
                products = self._more if some.start else self._values
                products.append((own, row.values[:, :, some], answer[:, i]))
            if not row.length:
                self._empty.append(answer[:, i])
            if row.length < room:
                self._pads.append(self._scores[:, i, :, row.length : -1])

    def attend(self, index: int, heads: np.ndarray, mixed: np.ndarray) -> None:
        """Layer ``index``. heads: (rows, q + k + v, d), already rotated; mixed: (rows, heads · d)."""
        kv_heads, count, groups, d = self._query.shape
        turned = kv_heads * groups
        self._query[...] = heads[:, :turned].reshape(count, kv_heads, groups, d).transpose(1, 0, 2, 3)
        fresh = self._fresh[index]
        fresh[...] = heads[:, turned:].reshape(count, 2, kv_heads, d).transpose(1, 2, 0, 3)
        for query, keys, scores in self._keys:
            np.matmul(query, keys[index], out=scores)
        for pad in self._pads:
            pad.fill(-np.inf)
        np.einsum("hrgd,hrd->hrg", self._query, fresh[0], out=self._scores[..., -1])
        if self._prefix:
            self._lines[...] = self._query
            self._prefix.score(index)
        total = _exponentials(self._scores, self._prefix)
        for scores, values, answer in self._values:
            np.matmul(scores, values[index], out=answer)
        for scores, values, answer in self._more:
            answer += scores @ values[index]
        for answer in self._empty:
            answer.fill(0.0)
        if self._prefix:
            self._prefix.mix(index)
            self._answer += self._prefix.answer
        answer = self._answer[..., :d]
        answer += self._scores[..., -1:] * fresh[1][:, :, None]
        answer /= total
        mixed.reshape(count, kv_heads, groups, d)[...] = answer.transpose(1, 0, 2, 3)

    def store(self) -> None:
        """Puts the new keys and values into the rows, which have room for them."""
        for i, row in enumerate(self.rows):
            row.keys[..., row.length] = self._fresh[:, 0, :, i]
            row.values[:, :, row.length, : self._fresh.shape[-1]] = self._fresh[:, 1, :, i]


def attend_many(row: Row, index: int, heads: np.ndarray, mixed: np.ndarray, scratch: Scratch) -> None:
    """Several new tokens of one row, each seeing what is before it, in layer ``index``.

    heads: (tokens, q + k + v, d), already rotated; mixed: (tokens, heads · d). Keys and values go
    into the row, whose ``length`` the caller advances after the last layer.
    """
    (kv_heads, d), start, count = row.keys.shape[1:3], row.length, len(heads)
    key, value = heads[:, -2 * kv_heads : -kv_heads], heads[:, -kv_heads:]
    row.keys[index][..., start : start + count] = key.transpose(1, 2, 0)
    row.values[index][:, start : start + count, :d] = value.transpose(1, 0, 2)
    for at in range(0, count, QUERY_BLOCK):
        some = slice(at, at + QUERY_BLOCK)
        _attend_some(row, index, start + at, heads[some], mixed[some], scratch)


def _attend_some(
    row: Row, index: int, start: int, heads: np.ndarray, mixed: np.ndarray, scratch: Scratch
) -> None:
    """Tokens whose keys and values are in the row, from ``start`` on."""
    keys, values = row.keys[index], row.values[index]
    kv_heads, d = keys.shape[:2]
    count, total_heads = heads.shape[:2]
    groups, spans = total_heads // kv_heads - 2, _spans(start + count)
    eights = _eights(kv_heads, groups * count, d)
    all_query = scratch.take("many_query", eights)
    all_scores = scratch.take("many_scores", (*eights[:-1], _whole(start + count, SUM_BLOCK) + 1))
    all_answer = scratch.take("many_answer", (*eights[:-1], values.shape[-1]))
    query, scores, answer = (_apart(lines, groups, count) for lines in (all_query, all_scores, all_answer))
    query[...] = heads[:, : -2 * kv_heads].reshape(count, kv_heads, groups, d).transpose(1, 2, 0, 3)
    for some in spans:
        np.matmul(all_query, keys[:, None, :, some], out=all_scores[..., some])
    ahead = scores[..., start:-1]
    np.copyto(ahead, -np.inf, where=_ahead(*ahead.shape[-2:]))
    np.einsum("hgtd,thd->hgt", query, heads[:, -2 * kv_heads : -kv_heads], out=scores[..., -1])
    prefix = PrefixPart(row.prefix, all_query, groups, count, scratch) if row.prefix else None
    if prefix:
        prefix.score(index)
    total = _exponentials(scores, prefix)
    np.matmul(all_scores[..., spans[0]], values[:, None, spans[0]], out=all_answer)
    for some in spans[1:]:
        all_answer += all_scores[..., some] @ values[:, None, some]
    if prefix:
        prefix.mix(index)
        answer += prefix.answer
    answer = answer[..., :d]
    answer += scores[..., -1:] * heads[:, -kv_heads:].transpose(1, 0, 2)[:, None]
    answer /= total
    mixed.reshape(count, kv_heads, groups, d)[...] = answer.transpose(2, 0, 1, 3)


@functools.lru_cache(maxsize=64)
def _ahead(count: int, width: int) -> np.ndarray:
    """True where a token may not look: itself, whose score stands apart, and what is after it."""
    return np.triu(np.ones((count, width), bool))


def _exponentials(scores: np.ndarray, prefix: PrefixPart | None) -> np.ndarray:
    """exp(x - max) of a row's own scores and of those of its prefix, in place; the sums, last axis kept.

    A sum is the last of the row's own, plus the prefix, plus the others by SUM_BLOCKs.
    """
    top = scores.max(axis=-1, keepdims=True)
    if prefix:
        np.maximum(top, prefix.scores.max(axis=-1, keepdims=True), out=top)
        _raise(prefix.scores, top)
    _raise(scores, top)
    total = scores[..., -1].copy()
    if prefix:
        total += prefix.scores.sum(axis=-1)
    own = scores[..., :-1]
    # Block onto block, then within: numbers of a contiguous axis would be added in an order that their count decides.
    total += own.reshape(*own.shape[:-1], -1, SUM_BLOCK).sum(axis=-2).sum(axis=-1)
    return total[..., None]


def _raise(scores: np.ndarray, top: np.ndarray) -> None:
    scores -= top
    np.exp(scores, out=scores)


def _eights(kv_heads: int, lines: int, size: int) -> tuple[int, int, int, int]:
    """The shape of ``lines`` lines a head in eights."""
    return kv_heads, -(-lines // _EIGHT), _EIGHT, size


def _apart(lines: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """A view of lines in eights as (kv_heads, rows, columns, …), without those that only fill up."""
    return lines.reshape(len(lines), -1, lines.shape[-1])[:, : rows * columns].reshape(len(lines), rows, columns, -1)


def _spans(length: int) -> list[slice]:
    """Where the keys and values of a row's first ``length`` tokens lie, in SPANs of whole BLOCKs."""
    end = _whole(length, BLOCK)
    return [slice(at, min(end, at + SPAN)) for at in range(0, end, SPAN)]


def _whole(count: int, unit: int) -> int:
    return -(-count // unit) * unit
