"""Gives MLX a fast BLAS on Linux, and numpy a thread count.

The Linux CPU wheel of MLX is linked against reference BLAS (about 2.5 GFLOPS). An
OpenBLAS that is already in the process with global symbols takes its place (about 100
GFLOPS a core), so :func:`preload` must run before the first ``import mlx.core``.
numpy carries an OpenBLAS of its own; the hand-written layers run on it from several
Python threads, each of which wants one BLAS thread: :func:`single_threaded`.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib.util
import pathlib
import sys
from collections.abc import Iterator

_FAISS_ORDER = ("libquadmath", "libgfortran", "libgomp", "libopenblas")
_loaded: list[ctypes.CDLL] = []


def preload() -> str | None:
    """Loads an OpenBLAS globally and returns its path; None where none is needed or found."""
    if sys.platform != "linux":
        return None
    if _loaded:
        return _loaded[-1]._name
    for name in ("libopenblas.so.0", "libopenblas.so"):
        with contextlib.suppress(OSError):
            _loaded.append(ctypes.CDLL(name, mode=ctypes.RTLD_GLOBAL))
            return name
    return _preload_from_faiss()


def _preload_from_faiss() -> str | None:
    spec = importlib.util.find_spec("faiss")
    if spec is None or spec.origin is None:
        return None
    folder = pathlib.Path(spec.origin).parent.parent / "faiss_cpu.libs"
    paths = [next(folder.glob(f"{stem}*"), None) for stem in _FAISS_ORDER]
    if paths[-1] is None:
        return None
    for path in paths:
        if path is not None:
            _loaded.append(ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL))
    return str(paths[-1])


@functools.cache
def _numpy_blas() -> tuple[ctypes.CDLL, str] | None:
    """numpy's own OpenBLAS and the symbol suffix of its build, or None (Accelerate, MKL)."""
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


@contextlib.contextmanager
def numpy_threads(count: int) -> Iterator[None]:
    """Inside, numpy's BLAS runs each product on ``count`` threads, in the whole process."""
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


def single_threaded() -> contextlib.AbstractContextManager[None]:
    """Inside, numpy's BLAS uses the calling thread only."""
    return numpy_threads(1)
