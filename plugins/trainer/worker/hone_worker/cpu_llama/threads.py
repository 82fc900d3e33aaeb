"""Who computes: the cores, a team of Python threads over them, and how many threads NumPy's BLAS takes.

NumPy carries an OpenBLAS of its own. The layers run on it from several Python threads, each of which wants
one BLAS thread; a product that is alone gets them all.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib.util
import os
import pathlib
import queue
import threading
from collections.abc import Callable, Iterator

# A decoding pass waits for its slowest thread some 120 times: more threads than this only wait.
_MOST_THREADS = 8


def cores() -> int:
    """How many cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def share(count: int, index: int, size: int) -> slice:
    """The index-th of ``size`` nearly equal parts of range(count)."""
    return slice(count * index // size, count * (index + 1) // size)


class Team:
    """The calling thread and ``size - 1`` helpers, which run one function at a time together."""

    def __init__(self, size: int | None = None) -> None:
        self.size = size or min(cores(), _MOST_THREADS)
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


@contextlib.contextmanager
def blas_threads(count: int) -> Iterator[None]:
    """Inside, NumPy's BLAS runs each product on ``count`` threads, in the whole process."""
    found = _numpy_blas()
    if found is None:
        yield
        return
    library, suffix = found
    set_threads = getattr(library, f"scipy_openblas_set_num_threads{suffix}")
    before = getattr(library, f"scipy_openblas_get_num_threads{suffix}")()
    set_threads(count)
    try:
        yield
    finally:
        set_threads(before)


@functools.cache
def _numpy_blas() -> tuple[ctypes.CDLL, str] | None:
    """NumPy's own OpenBLAS and the symbol suffix of its build, or None (Accelerate, MKL)."""
    spec = importlib.util.find_spec("numpy")
    if spec is None or spec.origin is None:
        return None
    folder = pathlib.Path(spec.origin).parent.parent / "numpy.libs"
    for path in sorted(folder.glob("libscipy_openblas*")) if folder.is_dir() else []:
        library = ctypes.CDLL(str(path))
        for suffix in ("64_", ""):
            if hasattr(library, f"scipy_openblas_set_num_threads{suffix}"):
                return library, suffix
    return None
