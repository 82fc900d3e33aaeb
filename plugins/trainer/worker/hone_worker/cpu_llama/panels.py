"""Matrix products of few rows at the speed of memory: weights cut into narrow panels.

OpenBLAS copies both operands before it multiplies, which for 32 rows costs more than the product.
Its AVX-512 kernels for small matrices (up to 10^6 multiply-adds) do not, so ``Panels`` stores a
map as panels of 32 columns and multiplies chunk by chunk below that bound: 1.7 times as fast at
32 rows (34 against 57 ms over SmolLM2-135M's layers, measured), equal for many rows. Elsewhere a
map stays in one panel per thread.
"""

from __future__ import annotations

import numpy as np

PANEL = 32
ROW_UNIT = 16
_SMALL = 1_000_000


def has_small_kernels() -> bool:
    """Whether numpy's BLAS has the kernels that panels are for."""
    try:
        from numpy._core._multiarray_umath import __cpu_features__ as features
    except ImportError:
        return False
    return bool(features.get("AVX512_SKX"))


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
