"""Hidden states kept from sampling, so that training need not compute the frozen layers again.

Layers below the first adapter never change: what the sampler computed for a token in its context
holds for every later step. ``HiddenStates`` is a ring of the inputs of the first trained layer,
found by the ids up to and including the token (a chained 64-bit hash; no text is kept). Values
differ from the trainer's own in the last bits, since they come from other matrix shapes. One
writer (the sampler) and one reader that take turns.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hone_worker.packing import Tree

ROOT = 0


def chain(key: int, token: int) -> int:
    """The key of the ids of ``key`` followed by ``token``."""
    return hash((key, token))


class HiddenStates:
    """layer: whose input is kept; capacity: in tokens, of ``hidden`` fp32 numbers each."""

    def __init__(self, layer: int, hidden: int, capacity: int = 24576) -> None:
        self.layer, self.capacity = layer, capacity
        self._ring = np.empty((capacity, hidden), np.float32)
        self._slots: dict[int, int] = {}
        self._keys: list[int | None] = [None] * capacity
        self._next = 0

    def __len__(self) -> int:
        return len(self._slots)

    def add(self, key: int, ids: Sequence[int], hidden: np.ndarray) -> int:
        """Keeps the states (len(ids), hidden) of ``ids`` that follow the context ``key``
        (ROOT: none); returns the key of the context with them."""
        for token, state in zip(ids, hidden, strict=True):
            key = chain(key, int(token))
            slot = self._slots.get(key)
            if slot is None:
                slot = self._claim(key)
            self._ring[slot] = state
        return key

    def _claim(self, key: int) -> int:
        slot, self._next = self._next, (self._next + 1) % self.capacity
        old = self._keys[slot]
        if old is not None:
            del self._slots[old]
        self._keys[slot], self._slots[key] = key, slot
        return slot

    def find(self, tree: Tree) -> tuple[np.ndarray, np.ndarray]:
        """(states (tokens, hidden), which of them are known) of a tree's tokens."""
        states = np.empty((len(tree.ids), self._ring.shape[1]), np.float32)
        slots = np.full(len(tree.ids), -1)
        ends: list[int] = []
        for segment in tree.segments:
            key = ends[segment.parent] if segment.parent >= 0 else ROOT
            for place in range(segment.start, segment.stop):
                key = chain(key, int(tree.ids[place]))
                slots[place] = self._slots.get(key, -1)
            ends.append(key)
        known = slots >= 0
        states[known] = self._ring[slots[known]]
        return states, known
