"""Matrix products in which a row gets the same bits whatever rows stand beside it.

BLAS promises nothing of the kind: a kernel may add in another order by the number of rows, and by a row's place
among them. ``Panels`` therefore takes one of three ways, the first that gives one result for all:

- narrow, a map in panels of 32 columns. OpenBLAS copies both operands before it multiplies, which for 32 rows
  costs more than the product; its AVX-512 kernels for small matrices (up to 10^6 multiply-adds) do not, and add
  in the order of the inputs. 1.7 times as fast at 32 rows (34 against 57 ms over SmolLM2-135M's layers,
  measured), equal for many.
- wide, a panel a thread, for maps with too many inputs for that.
- lanes, 16 rows at a time, never more or fewer. The rows lie side by side in the result, hence in the lanes of
  its vectors, and go through the same instructions. OpenBLAS's AVX2 kernels allow nothing faster.
"""

from __future__ import annotations

import functools

import numpy as np

from hone_worker.cpu_llama.threads import blas_threads

PANEL = 32
ROW_UNIT = 16
_LANES_PANELS = (96, 32)
_SMALL = 1_000_000
# Numbers of rows with which a wide product is tried; it takes any.
_TRIED = (*range(2, ROW_UNIT + 1), 32, 48, 64, 96, 128, 256, 512)


def has_small_kernels() -> bool:
    """Whether the processor has what OpenBLAS's kernels for small matrices need."""
    try:
        from numpy._core._multiarray_umath import __cpu_features__ as features
    except ImportError:
        return False
    return bool(features.get("AVX512_SKX"))


@functools.cache
def adds_in_one_order(inner: int, width: int, rows: tuple[int, ...]) -> bool:
    """Whether a row gets the same bits in products with (inner, width) of so many rows, wherever it stands."""
    rng = np.random.default_rng(0)
    row = rng.standard_normal((1, inner), np.float32)
    weight = rng.standard_normal((inner, width), np.float32)
    with blas_threads(1):
        products = [_product(np.repeat(row, count, axis=0), weight) for count in rows]
    return len({one.tobytes() for product in products for one in product}) == 1


_product = np.matmul


class Panels:
    """A linear map x -> x Wᵀ, stored as (panels, in, width).

    least: the fewest rows that a product takes. Beyond ROW_UNIT rows, it takes multiples of ROW_UNIT.
    """

    def __init__(self, weight: np.ndarray, parts: int, small_kernels: bool) -> None:
        """``weight``: (out, in); ``parts``: how many threads will share a product."""
        outer, self.inner = weight.shape
        whole = outer // parts if outer % parts == 0 else outer
        units = _SMALL // (ROW_UNIT * self.inner * PANEL)
        fits = outer % PANEL == 0 and units > 0
        most = (*range(2, ROW_UNIT), *(ROW_UNIT * (unit + 1) for unit in range(units)))
        # With fewer rows a wide product would be a small one, which adds otherwise.
        least = max(2, _SMALL // (whole * self.inner) + 1)
        middling = next((width for width in _LANES_PANELS if outer % width == 0), whole)
        self.lanes, self.width, self.least, self._units = True, middling, ROW_UNIT, 1
        if small_kernels and fits and adds_in_one_order(self.inner, PANEL, most):
            self.lanes, self.width, self.least, self._units = False, PANEL, 2, units
        elif small_kernels and not fits and least <= ROW_UNIT:
            tried = tuple(rows for rows in _TRIED if rows >= least)
            if adds_in_one_order(self.inner, whole, tried):
                self.lanes, self.width, self.least, self._units = False, whole, least, 0
        self.outer, self.count = outer, outer // self.width
        self.data = np.ascontiguousarray(weight.reshape(self.count, self.width, self.inner).transpose(0, 2, 1))

    def multiply(self, x: np.ndarray, out: np.ndarray, part: slice) -> slice:
        """Writes the columns of the panels in ``part``; returns these columns.

        x: (rows, in), out: (rows, out); rows as ``padded`` gives them.
        """
        rows = x.shape[0]
        chunk = self._chunk(rows)
        grouped = x.reshape(rows // chunk, chunk, self.inner)
        target = out.reshape(rows // chunk, chunk, self.count, self.width).transpose(2, 0, 1, 3)[part]
        weight = self.data[part][:, None]
        if self.lanes:
            beside = np.empty((*target.shape[:2], self.width, chunk), np.float32)
            np.matmul(weight.transpose(0, 1, 3, 2), grouped.transpose(0, 2, 1), out=beside)
            target[...] = beside.transpose(0, 1, 3, 2)
        else:
            np.matmul(grouped, weight, out=target)
        return slice(part.start * self.width, part.stop * self.width)

    def _chunk(self, rows: int) -> int:
        """How many rows one product takes."""
        if rows <= ROW_UNIT or self._units == 0:
            return rows
        units = rows // ROW_UNIT
        return ROW_UNIT * max(d for d in range(1, self._units + 1) if units % d == 0)


def padded(rows: int, least: int) -> int:
    """The number of rows that a product takes in place of ``rows``."""
    return max(rows, least) if rows <= ROW_UNIT else -(-rows // ROW_UNIT) * ROW_UNIT
