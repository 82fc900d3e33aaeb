"""Keys and values of the sampler's rows, in slots of banks.

Rows that begin with one prefix and have about as many tokens of their own lie in one ``Bank``: a tensor a layer, a
slot a row. So one product attends for all rows of a bank that take a token, and the prefix is stored once. A row
that outgrows its bank moves to the next, which is twice as long. A row that nobody holds any more leaves its slot, and
the last one takes the bank's memory with it.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence

import torch

# Own tokens of the rows of the smallest bank.
SHORTEST = 64
_FEWEST_SLOTS = 8


class Prefix:
    """Ids that rows begin with, and the banks of those rows. keys, values: a layer's are (kv_heads, length, dim)."""

    def __init__(self, length: int = 0) -> None:
        self.length = length
        self.keys: list[torch.Tensor] = []
        self.values: list[torch.Tensor] = []
        self._banks: dict[int, Bank] = {}

    @classmethod
    def of(cls, row: Row) -> Prefix:
        """What a row without prefix has read, as a prefix of others."""
        prefix = cls(row.length)
        prefix.keys, prefix.values = (
            [layer[row.slot, :, : row.length].clone() for layer in layers] for layers in (row.bank.keys, row.bank.values)
        )
        return prefix

    def bank(self, tokens: int) -> Bank:
        """Where rows of ``tokens`` own tokens lie."""
        room = SHORTEST
        while room < tokens:
            room *= 2
        return self._banks.setdefault(room, Bank(room))


class Row:
    """One sequence: its prefix, and ``length`` own tokens in a slot of a bank."""

    def __init__(self, prefix: Prefix) -> None:
        self.prefix, self.length = prefix, 0
        self.bank = prefix.bank(0)
        self.slot = self.bank.take(self)

    @property
    def position(self) -> int:
        """Of its next token."""
        return self.prefix.length + self.length

    @property
    def bytes(self) -> int:
        """Its share of the memory of its bank."""
        return self.bank.bytes // max(1, self.bank.taken)

    def reserve(self, tokens: int) -> None:
        """Makes room for ``tokens`` more."""
        wanted = self.prefix.bank(self.length + tokens)
        if wanted.room <= self.bank.room:
            return
        bank, slot = self.bank, self.slot
        self.bank, self.slot = wanted, wanted.take(self)
        for layer, (keys, values) in enumerate(zip(bank.keys, bank.values, strict=True)):
            key, value = keys[slot, :, : self.length], values[slot, :, : self.length]
            wanted.layer(layer, key, value)
            wanted.keys[layer][self.slot, :, : self.length] = key
            wanted.values[layer][self.slot, :, : self.length] = value
        bank.leave(slot, self)


class Bank:
    """Slots for rows of at most ``room`` own tokens. keys, values: a layer's are (slots, kv_heads, room, dim)."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.keys: list[torch.Tensor] = []
        self.values: list[torch.Tensor] = []
        self._rows: list[weakref.ref[Row] | None] = []
        # Rows may be dropped on any thread while another one samples.
        self._lock = threading.RLock()

    @property
    def taken(self) -> int:
        """How many slots belong to a row."""
        return sum(1 for held in list(self._rows) if held and held())

    @property
    def bytes(self) -> int:
        """Memory of all slots."""
        return sum(tensor.nbytes for tensor in (*self.keys, *self.values))

    def take(self, row: Row) -> int:
        """The first free slot, which is ``row``'s from now on."""
        with self._lock:
            free = [slot for slot, held in enumerate(self._rows) if held is None or held() is None]
            slot = free[0] if free else len(self._rows)
            self._rows[slot : slot + 1] = [weakref.ref(row, self._dropped)]
        for tensor in (*self.keys, *self.values):
            if slot < len(tensor):
                tensor[slot].zero_()
        return slot

    def leave(self, slot: int, row: Row) -> None:
        """Gives a row's slot back."""
        with self._lock:
            held = self._rows[slot]
            if held and held() is row:
                self._rows[slot] = None
            self._dropped(None)

    def _dropped(self, _: object) -> None:
        with self._lock:
            if not self.taken:
                self._rows, self.keys, self.values = [], [], []

    def layer(self, layer: int, key: torch.Tensor, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """A layer's keys and values with a slot for every row; key, value: (kv_heads, any, dim), what goes there."""
        return self._fitting(self.keys, layer, key), self._fitting(self.values, layer, value)

    def _fitting(self, layers: list[torch.Tensor], layer: int, like: torch.Tensor) -> torch.Tensor:
        while layer >= len(layers):
            layers.append(like.new_zeros((0, like.shape[0], self.room, like.shape[-1])))
        held, wanted = layers[layer], len(self._rows)
        if wanted > len(held):
            # What was never written must be finite: it is multiplied by zero.
            layers[layer] = held.new_zeros((max(_FEWEST_SLOTS, wanted, 2 * len(held)), *held.shape[1:]))
            layers[layer][: len(held)] = held
        return layers[layer]

    def gather(self, rows: Sequence[Row]) -> int:
        """Moves rows to the first slots if they lie too far apart; how many slots from the first on hold them all."""
        span = 1 + max(row.slot for row in rows)
        if span <= len(rows) * 4 // 3:
            return span
        for layers in (self.keys, self.values):
            for layer, tensor in enumerate(layers):
                self._fitting(layers, layer, tensor)
        with self._lock:
            kept = {row.slot for row in rows if row.slot < len(rows)}
            free = iter(slot for slot in range(len(rows)) if slot not in kept)
            for row in rows:
                if row.slot >= len(rows):
                    self._swap(row, next(free))
        return len(rows)

    def _swap(self, row: Row, slot: int) -> None:
        other = self._rows[slot]() if self._rows[slot] else None
        for tensor in (*self.keys, *self.values):
            moved = tensor[row.slot].clone()
            tensor[row.slot] = tensor[slot]
            tensor[slot] = moved
        self._rows[slot], self._rows[row.slot] = self._rows[row.slot], self._rows[slot]
        if other is not None:
            other.slot = row.slot
        row.slot = slot
