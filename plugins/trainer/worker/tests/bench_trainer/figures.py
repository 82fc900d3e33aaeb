"""From the timings of two sides that took the same steps to the figures that are reported. Pure.

Ratios are hone's over the peer's: of tokens per second (more is better) and of peak memory (less is better).
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

# Loss and gradient norm of the two sides may differ by this share.
EQUAL_WITHIN = 1e-3


@dataclass(frozen=True)
class Step:
    """One side's step. cpu: seconds of all threads; grad_norm: before clipping; peak: bytes above weights, optimiser
    state and libraries."""

    seconds: float
    cpu: float
    loss: float
    grad_norm: float
    peak: int


@dataclass(frozen=True)
class Comparison:
    """Timed steps of both sides in the order taken; logical, physical: tokens of a step, as its rows have them and
    as hone computes them; checked: other steps that equality is judged by, of another precision."""

    workload: str
    peer: str
    logical: int
    physical: int
    hone: list[Step]
    trl: list[Step]
    checked: tuple[list[Step], list[Step]] | None = None

    def row(self) -> dict[str, Any]:
        """What ``--format json`` prints of it."""
        hone, trl = self.checked or (self.hone, self.trl)
        return {
            "workload": self.workload,
            "peer": self.peer,
            "tokens_ratio": _seconds(self.trl) / _seconds(self.hone),
            "memory_ratio": _peak(self.hone) / _peak(self.trl),
            "loss_rel_diff": _most_apart([s.loss for s in hone], [s.loss for s in trl]),
            "grad_rel_diff": _most_apart([s.grad_norm for s in hone], [s.grad_norm for s in trl]),
        }

    def cells(self) -> list[str]:
        """Its line of the table."""
        row = self.row()
        return [
            self.workload,
            self.peer,
            f"{self.logical:,} ({self.physical:,})",
            f"{_spread(self.hone)} / {_spread(self.trl)}",
            f"{row['tokens_ratio']:.2f}",
            f"{_cpu(self.trl) / _cpu(self.hone):.2f}",
            f"{_peak(self.hone) / 2**20:,.0f} / {_peak(self.trl) / 2**20:,.0f}",
            f"{row['memory_ratio']:.2f}",
            f"{row['loss_rel_diff']:.0e} / {row['grad_rel_diff']:.0e}",
        ]


HEAD = [
    "workload", "peer", "tokens a step (computed by hone)", "seconds a step, hone / TRL", "tokens ratio", "by CPU time",
    "peak MiB, hone / TRL", "memory ratio", "difference of loss / gradient norm",
]  # fmt: skip


def table(comparisons: Sequence[Comparison]) -> str:
    """All comparisons."""
    return markdown(HEAD, [comparison.cells() for comparison in comparisons])


def markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table of Markdown."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, ["---"] * len(head), *lines])


def unequal(rows: Sequence[dict[str, Any]]) -> list[str]:
    """One sentence for each comparison whose sides did not compute the same."""
    return [
        f"{row['workload']} against {row['peer']}: loss differs by {row['loss_rel_diff']:.1e}, gradient norm by "
        f"{row['grad_rel_diff']:.1e}; {EQUAL_WITHIN:g} at most is wanted, so the ratios mean nothing."
        for row in rows
        if not (row["loss_rel_diff"] <= EQUAL_WITHIN and row["grad_rel_diff"] <= EQUAL_WITHIN)
    ]


def _seconds(steps: Sequence[Step]) -> float:
    return statistics.median(step.seconds for step in steps)


def _cpu(steps: Sequence[Step]) -> float:
    return statistics.median(step.cpu for step in steps)


def _peak(steps: Sequence[Step]) -> int:
    return max(1, max(step.peak for step in steps))


def _spread(steps: Sequence[Step]) -> str:
    seconds = sorted(step.seconds for step in steps)
    return f"{_seconds(steps):.2f} ({seconds[0]:.2f} to {seconds[-1]:.2f})"


def _most_apart(left: Sequence[float], right: Sequence[float]) -> float:
    pairs = zip(left, right, strict=True)
    return max(abs(a - b) / max(abs(a), abs(b), 1e-12) for a, b in pairs)
