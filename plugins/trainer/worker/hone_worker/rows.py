"""From recorded model calls to training rows, token for token.

A turn is one call of the model: the exact prompt ids it saw and the exact ids it sampled.
``reconcile`` chains the turns of a trajectory into rows such that **every sampled token is
trained exactly once, after the very ids it was sampled from**, and nothing else is trained:

- CLEAN: the next prompt extends the row; the new prompt ids are context, the row goes on.
- REALIGN: the next prompt differs only in the tail of the last answer (re-tokenised, trimmed).
- FORK: the next prompt differs further up (history rewritten, a sub-agent's own history).

REALIGN and FORK both start a new row; the ids it shares with earlier rows are context there,
and ``packing`` computes them once, so that a short drift costs only its own tokens.

``read_batch`` reads a ``batch.v1`` file (JSON lines). Errors: WorkerError BATCH_INVALID, with
the line. Python and NumPy only: every engine shares it.
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hone_worker.errors import WorkerError

SCHEMA = "batch.v1"
REALIGN_LIMIT = 1024


@dataclass(frozen=True)
class TurnRecord:
    """One call: logprobs (of output_ids, of the distribution sampled) are None when unknown."""

    prompt_ids: list[int]
    output_ids: list[int]
    logprobs: list[float] | None = None
    finish_reason: str = "stop"


@dataclass(frozen=True)
class Trajectory:
    """The turns of one rollout with its advantage and its weight in the loss."""

    rollout_id: str
    group_id: str
    policy_version: int
    advantage: float
    weight: float
    turns: list[TurnRecord]


@dataclass
class Row:
    """A sequence to train on. mask: True at sampled tokens that this row trains; logprobs: the
    sampler's, NaN where unknown or not trained; origin: how the row came about; sequence: index of the
    trajectory in its batch; policy_version: the oldest weights that sampled it; source: the
    (turn, offset) of every trained token, in order."""

    rollout_id: str
    group_id: str
    advantage: float
    weight: float
    ids: np.ndarray
    mask: np.ndarray
    logprobs: np.ndarray
    origin: str = "CLEAN"
    sequence: int = 0
    policy_version: int = 0
    source: list[tuple[int, int]] = field(default_factory=list)


class _Builder:
    def __init__(self, trajectory: Trajectory, prompt: Sequence[int], origin: str) -> None:
        self.trajectory, self.origin = trajectory, origin
        self.ids = list(prompt)
        self.mask = [False] * len(self.ids)
        self.logprobs = [float("nan")] * len(self.ids)
        self.source: list[tuple[int, int]] = []
        self.answer_start = len(self.ids)

    def add_context(self, ids: Sequence[int]) -> None:
        self.ids += ids
        self.mask += [False] * len(ids)
        self.logprobs += [float("nan")] * len(ids)

    def add_answer(self, turn: TurnRecord, index: int) -> None:
        self.answer_start = len(self.ids)
        self.ids += turn.output_ids
        self.mask += [True] * len(turn.output_ids)
        self.logprobs += turn.logprobs or [float("nan")] * len(turn.output_ids)
        self.source += [(index, offset) for offset in range(len(turn.output_ids))]

    def row(self) -> Row:
        t = self.trajectory
        return Row(
            rollout_id=t.rollout_id,
            group_id=t.group_id,
            advantage=t.advantage,
            weight=t.weight,
            ids=np.array(self.ids, np.int32),
            mask=np.array(self.mask, bool),
            logprobs=np.array(self.logprobs, np.float32),
            origin=self.origin,
            policy_version=t.policy_version,
            source=self.source,
        )


def reconcile(trajectory: Trajectory, realign_limit: int = REALIGN_LIMIT) -> list[Row]:
    """The rows of one trajectory, in the order in which they began."""
    builders: list[_Builder] = []
    last: _Builder | None = None
    for index, turn in enumerate(trajectory.turns):
        extended = _longest_extended(builders, turn.prompt_ids)
        if extended is not None:
            extended.add_context(turn.prompt_ids[len(extended.ids) :])
        else:
            origin = "CLEAN" if last is None else _origin(last, turn.prompt_ids, realign_limit)
            extended = _Builder(trajectory, turn.prompt_ids, origin)
            builders.append(extended)
        extended.add_answer(turn, index)
        last = extended
    rows = [builder.row() for builder in builders]
    return [row for row in rows if row.mask.any()]


def _longest_extended(builders: list[_Builder], prompt: list[int]) -> _Builder | None:
    fitting = [b for b in builders if len(b.ids) <= len(prompt) and b.ids == prompt[: len(b.ids)]]
    return max(fitting, key=lambda b: len(b.ids), default=None)


def _origin(last: _Builder, prompt: list[int], limit: int) -> str:
    shared = common_prefix(last.ids, prompt)
    in_answer = shared >= last.answer_start
    return "REALIGN" if in_answer and len(last.ids) - shared < limit else "FORK"


def common_prefix(left: Sequence[int], right: Sequence[int]) -> int:
    """How many leading ids two sequences share."""
    n = min(len(left), len(right))
    if n == 0:
        return 0
    differ = np.flatnonzero(np.asarray(left[:n]) != np.asarray(right[:n]))
    return int(differ[0]) if differ.size else n


def to_rows(trajectories: Iterable[Trajectory]) -> list[Row]:
    """The rows of a batch; trajectories of weight 0 have none."""
    rows = []
    for sequence, trajectory in enumerate(trajectories):
        for row in reconcile(trajectory) if trajectory.weight != 0 else []:
            row.sequence = sequence
            rows.append(row)
    return rows


def read_batch(path: str | pathlib.Path) -> list[Trajectory]:
    """Reads a batch.v1 file."""
    source = pathlib.Path(path)
    try:
        lines = source.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise WorkerError(
            "BATCH_INVALID", f"Cannot read the batch {source}: {error.strerror}.", "Give a batch.v1 file."
        ) from error
    read = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            read.append(parse_trajectory(json.loads(line)))
        except (KeyError, TypeError, ValueError) as error:
            raise WorkerError(
                "BATCH_INVALID",
                f"Line {number} of {source.name} is not a batch.v1 trajectory: {_reason(error)}.",
                "See tests/golden/batch.v1.jsonl for the format.",
            ) from error
    return read


def _reason(error: Exception) -> str:
    return f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)


def parse_trajectory(value: dict[str, Any]) -> Trajectory:
    """One decoded line. Raises KeyError, TypeError or ValueError, with what is wrong."""
    if value["schema"] != SCHEMA:
        raise ValueError(f"schema is {value['schema']!r}, not {SCHEMA!r}")
    turns: list[TurnRecord] = []
    for index, turn in enumerate(value["turns"]):
        before = turns[-1].prompt_ids + turns[-1].output_ids if turns else []
        keep = turn["prefix_len"]
        if not 0 <= keep <= len(before):
            raise ValueError(f"turn {index} keeps {keep} of {len(before)} earlier ids")
        turns.append(_turn(turn, before[:keep] + turn["prompt_suffix_ids"], index))
    advantage, weight = float(value["advantage"]), float(value["weight"])
    if not np.isfinite(advantage) or not np.isfinite(weight) or weight < 0:
        raise ValueError(f"advantage {advantage} or weight {weight} is not usable")
    return Trajectory(
        rollout_id=value["rollout_id"],
        group_id=value["group_id"],
        policy_version=int(value["policy_version"]),
        advantage=advantage,
        weight=weight,
        turns=turns,
    )


def _turn(value: dict[str, Any], prompt: list[int], index: int) -> TurnRecord:
    output, logprobs = value["output_ids"], value["logprobs"]
    if not prompt:
        raise ValueError(f"turn {index} has an empty prompt")
    if not all(type(i) is int and i >= 0 for i in [*prompt, *output]):
        raise ValueError(f"turn {index} has ids that are not whole numbers from 0 up")
    if logprobs is not None:
        if len(logprobs) != len(output):
            raise ValueError(f"turn {index} has {len(logprobs)} logprobs for {len(output)} ids")
        logprobs = [float("nan") if number is None else float(number) for number in logprobs]
    return TurnRecord(prompt, output, logprobs, value.get("finish_reason", "stop"))
