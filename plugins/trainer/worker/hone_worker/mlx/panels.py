"""Matrix products of few rows at the speed of memory: weights cut into narrow panels.

OpenBLAS copies both operands before it multiplies, which for 32 rows costs more than the product.
Its AVX-512 kernels for small matrices (up to 10^6 multiply-adds) do not, so ``Panels`` stores a
map as panels of 32 columns and multiplies chunk by chunk below that bound: 1.7 times as fast at
32 rows (34 against 57 ms over SmolLM2-135M's layers, measured), equal for many rows. Elsewhere a
map stays in one panel per thread. ``Team`` runs a function on every core.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable

import numpy as np

PANEL = 32
ROW_UNIT = 16
_SMALL = 1_000_000
# A pass waits for its slowest thread some 120 times: more threads than this only wait.
_MOST_THREADS = 8


def has_small_kernels() -> bool:
    """Whether numpy's BLAS has the kernels that panels are for."""
    try:
        from numpy._core._multiarray_umath import __cpu_features__ as features
    except ImportError:
        return False
    return bool(features.get("AVX512_SKX"))


class Team:
    """The calling thread and ``size - 1`` helpers, which run one function at a time together."""

    def __init__(self, size: int | None = None) -> None:
        self.size = size or min(_cores(), _MOST_THREADS)
        self._tasks: list[queue.SimpleQueue[Callable[[int], None] | None]] = []
        self._done: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
        for index in range(1, self.size):
            tasks: queue.SimpleQueue[Callable[[int], None] | None] = queue.SimpleQueue()
            self._tasks.append(tasks)
            threading.Thread(target=self._help, args=(index, tasks), name="decode", daemon=True).start()

    def _help(self, index: int, tasks: queue.SimpleQueue) -> None:
        while (work := tasks.get()) is not None:
            try:
                work(index)
                self._done.put(None)
            except BaseException as error:  # handed to the caller of run
                self._done.put(error)

    def run(self, work: Callable[[int], None]) -> None:
        """Calls ``work(i)`` for every i below ``size``; returns when all have, or raises."""
        for tasks in self._tasks:
            tasks.put(work)
        failure: BaseException | None = None
        try:
            work(0)
        except BaseException as error:
            failure = error
        for _ in self._tasks:
            failure = self._done.get() or failure
        if failure is not None:
            raise failure

    def close(self) -> None:
        for tasks in self._tasks:
            tasks.put(None)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def share(count: int, index: int, size: int) -> slice:
    """The index-th of ``size`` nearly equal parts of range(count)."""
    return slice(count * index // size, count * (index + 1) // size)


class Panels:
    """A linear map x -> x Wᵀ, stored as (panels, in, width)."""

    def __init__(self, weight: np.ndarray, parts: int, narrow: bool) -> None:
        """``weight``: (out, in); ``parts``: how many threads will share a product."""
        outer, self.inner = weight.shape
        fits = outer % PANEL == 0 and ROW_UNIT * self.inner * PANEL <= _SMALL
        self.narrow = narrow and fits
        width = PANEL if self.narrow else outer // parts if outer % parts == 0 else outer
        self.outer, self.width, self.count = outer, width, outer // width
        self.data = np.ascontiguousarray(weight.reshape(self.count, width, self.inner).transpose(0, 2, 1))

    def multiply(self, x: np.ndarray, out: np.ndarray, part: slice) -> slice:
        """Writes the columns of the panels in ``part``; returns these columns.

        x: (rows, in), out: (rows, out), rows at most ROW_UNIT or a multiple of it.
        """
        rows = x.shape[0]
        chunk = self._chunk(rows)
        grouped = x.reshape(rows // chunk, chunk, self.inner)
        target = out.reshape(rows // chunk, chunk, self.count, self.width).transpose(2, 0, 1, 3)
        np.matmul(grouped, self.data[part][:, None], out=target[part])
        return slice(part.start * self.width, part.stop * self.width)

    def _chunk(self, rows: int) -> int:
        if not self.narrow or rows <= ROW_UNIT:
            return rows
        units = rows // ROW_UNIT
        most = _SMALL // (ROW_UNIT * self.inner * self.width)
        return ROW_UNIT * max(d for d in range(1, most + 1) if units % d == 0)
