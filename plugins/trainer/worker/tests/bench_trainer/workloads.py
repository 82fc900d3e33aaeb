"""What the trainers are compared on: shapes of groups of rollouts, and models, by device. NumPy only.

A workload's batch is one step: ``groups`` × ``size`` trajectories of ``turns`` turns, made of random ids. "Sampled"
counts the trained ids of a trajectory over all of its turns.
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hone_worker.rows import SCHEMA, Trajectory, TurnRecord

# Ids below are the tokenizer's own (see ``model_folders``).
FIRST_ID = 300


@dataclass(frozen=True)
class Workload:
    """prefix: ids of the prompt, (least, most) when each trajectory draws its own length; shared: whether a group's
    prompts are the same ids; sampled: trained ids of a trajectory; result: ids of the tool result between two turns;
    forks: whether each turn drops half of the answer before it, as templates that
    strip thinking do."""

    name: str
    device: str
    model: str
    prefix: tuple[int, int]
    sampled: int
    turns: int = 1
    result: int = 0
    shared: bool = True
    forks: bool = False
    groups: int = 1
    size: int = 8

    def batch(self, rng: np.random.Generator, vocab: int) -> list[Trajectory]:
        """One step's trajectories; logprobs unknown."""
        out = []
        for group in range(self.groups):
            common = _ids(rng, vocab, self.prefix[1])
            for member in range(self.size):
                length = int(rng.integers(self.prefix[0], self.prefix[1] + 1))
                prompt = common if self.shared else _ids(rng, vocab, length)
                turns = self._turns(rng, vocab, prompt)
                advantage = float(rng.standard_normal())
                out.append(Trajectory(f"r{group}-{member}", f"g{group}", 0, advantage, 1.0, turns))
        return out

    def _turns(self, rng: np.random.Generator, vocab: int, prompt: list[int]) -> list[TurnRecord]:
        turns: list[TurnRecord] = []
        each = self.sampled // self.turns
        for _ in range(self.turns):
            if turns:
                last = turns[-1]
                # The first half of the last answer, its "thinking", is gone from the history.
                kept = last.output_ids[each // 2 :] if self.forks else last.output_ids
                prompt = last.prompt_ids + kept + _ids(rng, vocab, self.result)
            turns.append(TurnRecord(prompt, _ids(rng, vocab, each)))
        return turns


def _ids(rng: np.random.Generator, vocab: int, count: int) -> list[int]:
    return rng.integers(FIRST_ID, vocab, count).tolist()


SMALL, SMALLEST, MIDDLE, LARGE = "qwen3-22m", "qwen3-0.6b", "qwen3-1.7b", "qwen3-4b"

WORKLOADS = [
    Workload("mcp-32", "cpu", SMALL, (512, 512), 32),
    Workload("mcp-128", "cpu", SMALL, (512, 512), 128),
    Workload("mcp-32-turns-4", "cpu", SMALL, (512, 512), 32, turns=4, result=32),
    Workload("mcp-128-turns-4", "cpu", SMALL, (512, 512), 128, turns=4, result=32),
    Workload("short", "cpu", SMALL, (64, 256), 64, shared=False),
    Workload("forks", "cpu", SMALL, (512, 512), 128, turns=4, result=32, forks=True),
    Workload("mcp-4k-256", "cuda", SMALLEST, (4096, 4096), 256, turns=4, result=128),
    Workload("mcp-4k-1k", "cuda", SMALLEST, (4096, 4096), 1024, turns=4, result=128),
    Workload("mcp-4k-256-1.7b", "cuda", MIDDLE, (4096, 4096), 256, turns=4, result=128),
    Workload("mcp-4k-1k-4b", "cuda", LARGE, (4096, 4096), 1024, turns=4, result=128),
    Workload("short-512", "cuda", SMALLEST, (64, 256), 512, shared=False, size=32),
    Workload("agent-16k", "cuda", SMALLEST, (4096, 4096), 4096, turns=16, result=512),
    Workload("forks-4k", "cuda", SMALLEST, (4096, 4096), 1024, turns=4, result=128, forks=True),
]


def tiny(rows: int, rng: np.random.Generator, vocab: int) -> list[Trajectory]:
    """A step that costs nothing: after it, libraries are loaded and the optimiser has its state."""
    return Workload("tiny", "any", "any", (8, 8), 8, shared=False, size=rows).batch(rng, vocab)


def write_batch(path: pathlib.Path, trajectories: Sequence[Trajectory]) -> None:
    """Writes a batch.v1 file."""
    path.write_text("".join(json.dumps(_line(trajectory)) + "\n" for trajectory in trajectories))


def _line(trajectory: Trajectory) -> dict[str, object]:
    turns = [
        {"prefix_len": 0, "prompt_suffix_ids": t.prompt_ids, "output_ids": t.output_ids, "logprobs": t.logprobs}
        for t in trajectory.turns
    ]
    for earlier, turn in zip(trajectory.turns, turns[1:], strict=False):
        # A later turn says how many ids of the turn before it goes on from, or all of its own.
        before, prompt = earlier.prompt_ids + earlier.output_ids, turn["prompt_suffix_ids"]
        if prompt[: len(before)] == before:
            turn["prefix_len"], turn["prompt_suffix_ids"] = len(before), prompt[len(before) :]
    own = ("rollout_id", "group_id", "policy_version", "advantage", "weight")
    return {"schema": SCHEMA, **{name: getattr(trajectory, name) for name in own}, "turns": turns}


def sampled_by(trajectories: Sequence[Trajectory], logp: Sequence[Sequence[float]], seed: int) -> list[Trajectory]:
    """The trajectories as if sampled by a policy close to the one whose ``logp`` (of each trajectory's sampled ids,
    in order) is given: most ids within 2 %, and one in ten far enough for clips to act."""
    rng = np.random.default_rng(seed)
    out = []
    for trajectory, known in zip(trajectories, logp, strict=True):
        wide = rng.random(len(known)) < 0.1
        drawn = np.asarray(known) + rng.standard_normal(len(known)) * np.where(wide, 0.4, 0.02)
        behaviour, turns = drawn.tolist(), []
        for turn in trajectory.turns:
            mine, behaviour = behaviour[: len(turn.output_ids)], behaviour[len(turn.output_ids) :]
            turns.append(TurnRecord(turn.prompt_ids, turn.output_ids, mine))
        own = (trajectory.rollout_id, trajectory.group_id, 0, trajectory.advantage, trajectory.weight)
        out.append(Trajectory(*own, turns))
    return out
