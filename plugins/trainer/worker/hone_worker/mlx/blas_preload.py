"""Gives MLX a fast BLAS on Linux.

The Linux CPU wheel of MLX is linked against reference BLAS (about 2.5 GFLOPS). An OpenBLAS that is
already in the process with global symbols takes its place (about 100 GFLOPS a core), so ``preload``
must run before the first ``import mlx.core``.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import pathlib
import sys

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
