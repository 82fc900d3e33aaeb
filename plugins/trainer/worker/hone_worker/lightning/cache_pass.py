"""Attention of a pass over rows with caches: each row its own past, each its own number of new tokens.

The tokens of a pass lie one after another. Rows that take one token come first, bank by bank: a bank's products are of
all its slots at once. Rows that read several tokens follow, each by itself. Either way a prefix and a row's own tokens
share one softmax. What the numbers are to the last bit depends on which rows are computed together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional

from hone_worker.lightning.row_caches import Bank, Prefix, Row


class CachePass:
    """See ``tree_attention.Pass``. order: of the rows given, as their tokens lie; last: (rows,) of each row, in the order
    given, where its last token lies; positions: (1, T)."""

    def __init__(self, rows: Sequence[Row], counts: Sequence[int], device: torch.device) -> None:
        for row, count in zip(rows, counts, strict=True):
            row.reserve(count)
        banks: dict[int, list[int]] = {}
        for place, count in enumerate(counts):
            if count == 1:
                banks.setdefault(id(rows[place].bank), []).append(place)
        self._parts: list[_Decoding | _Reading] = []
        self.order: list[int] = []
        for places in banks.values():
            mine = [rows[place] for place in places]
            span = mine[0].bank.gather(mine)
            places.sort(key=lambda place: rows[place].slot)
            self._parts.append(_Decoding.of([rows[place] for place in places], span, len(self.order), device))
            self.order += places
        start = len(self.order)
        for place, count in enumerate(counts):
            if count > 1:
                self._parts.append(_Reading(rows[place], slice(start, start + count)))
                self.order.append(place)
                start += count
        self.last = [0] * len(rows)
        positions, end = [], 0
        for place in self.order:
            end += counts[place]
            self.last[place] = end - 1
            positions += range(rows[place].position, rows[place].position + counts[place])
        self.positions = torch.tensor(positions, device=device)[None]

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float
    ) -> torch.Tensor:
        query, key, value = query[0] * scaling, key[0], value[0]
        out = query.new_empty((query.shape[1], query.shape[0], value.shape[-1]))
        for part in self._parts:
            some = part.tokens
            out[some] = part.attend(layer, query[:, some], key[:, some], value[:, some])
        return out[None]


@dataclass(frozen=True)
class _Decoding:
    """Rows of one bank that take one token each. slots: theirs, None where they are the first ones in order; span: the
    slots computed; width: own tokens of the longest row, the new one included; ahead: (span, 1, 1, width), what a row
    does not have."""

    bank: Bank
    prefix: Prefix
    tokens: slice
    slots: torch.Tensor | None
    first: torch.Tensor
    lengths: torch.Tensor
    span: int
    width: int
    ahead: torch.Tensor

    @classmethod
    def of(cls, rows: list[Row], span: int, start: int, device: torch.device) -> _Decoding:
        lengths = [row.length for row in rows]
        width = max(lengths) + 1
        slots = torch.tensor([row.slot for row in rows], device=device)
        own = torch.tensor(lengths, device=device)
        ends = torch.zeros(span, dtype=torch.long, device=device)
        ends[slots] = own
        return cls(
            bank=rows[0].bank,
            prefix=rows[0].prefix,
            tokens=slice(start, start + len(rows)),
            slots=None if span == len(rows) else slots,
            first=slots,
            lengths=own,
            span=span,
            width=width,
            ahead=(torch.arange(width, device=device) > ends[:, None])[:, None, None],
        )

    def attend(self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """query (heads, rows, dim), key and value (kv_heads, rows, dim) to (rows, heads, dim)."""
        keys, values = self.bank.layer(layer, key, value)
        keys[self.first, :, self.lengths] = key.transpose(0, 1)
        values[self.first, :, self.lengths] = value.transpose(0, 1)
        kv_heads, count, dim = key.shape
        lines = query.transpose(0, 1)
        if self.slots is not None:
            lines = lines.new_zeros((self.span, *lines.shape[1:])).index_copy_(0, self.slots, lines)
        lines = lines.reshape(self.span, kv_heads, -1, dim)
        scores = lines @ keys[: self.span, :, : self.width].mT
        scores = scores.masked_fill_(self.ahead, -torch.inf)
        before = self.prefix.length
        if before:
            # Of all rows by one product a head: (kv_heads, rows · groups, dim) with (kv_heads, dim, length).
            together = lines.transpose(0, 1).reshape(kv_heads, -1, dim) @ self.prefix.keys[layer].mT
            apart = together.view(kv_heads, self.span, -1, before).transpose(0, 1)
            scores = torch.cat([apart, scores], -1)
        shares = torch.softmax(scores, -1, dtype=torch.float32).to(values.dtype)
        mixed = shares[..., before:] @ values[: self.span, :, : self.width]
        if before:
            together = shares[..., :before].transpose(0, 1).reshape(kv_heads, -1, before) @ self.prefix.values[layer]
            mixed += together.view(kv_heads, self.span, -1, values.shape[-1]).transpose(0, 1)
        mixed = mixed.reshape(self.span, -1, values.shape[-1])
        return mixed if self.slots is None else mixed[self.slots]


class _Reading:
    """A row that takes several tokens, each of which sees what is before it."""

    def __init__(self, row: Row, tokens: slice) -> None:
        self._row, self.tokens = row, tokens
        self._mask: torch.Tensor | None = None

    def attend(self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """query (heads, tokens, dim), key and value (kv_heads, tokens, dim) to (tokens, heads, dim)."""
        row, (kv_heads, count, dim) = self._row, key.shape
        end = row.length + count
        keys, values = (tensor[row.slot] for tensor in row.bank.layer(layer, key, value))
        keys[:, row.length : end], values[:, row.length : end] = key, value
        keys, values = keys[:, :end], values[:, :end]
        if row.prefix.length:
            keys = torch.cat([row.prefix.keys[layer], keys], 1)
            values = torch.cat([row.prefix.values[layer], values], 1)
        if self._mask is None:
            before = keys.shape[1] - count
            seen = torch.ones((count, keys.shape[1]), dtype=torch.bool, device=key.device).tril(before)
            self._mask = seen.repeat(query.shape[0] // kv_heads, 1)
        # Heads that share keys are lines of one product.
        lines = query.reshape(kv_heads, -1, dim)
        mixed = functional.scaled_dot_product_attention(lines[None], keys[None], values[None], self._mask, scale=1.0)
        return mixed.reshape(query.shape[0], count, -1).transpose(0, 1)
