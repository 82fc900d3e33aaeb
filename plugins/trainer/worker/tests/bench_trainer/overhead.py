"""What a step of the torch engine costs besides its passes, and what its memory grows with.

``deno task bench:trainer --overhead``, or ``python tests/bench_trainer/overhead.py`` with the same options; prints two
tables. No TRL. On a CPU the shares are of CPU time, which other programs do not stretch.
"""

from __future__ import annotations

import argparse
import pathlib
import statistics
import sys
import tempfile
from dataclasses import replace
from typing import Any

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent.parent)]

import numpy as np  # noqa: E402
from compare import Side, default_cache, has_cuda, model_folder, precisions_of, use_threads  # noqa: E402
from figures import markdown  # noqa: E402
from workloads import WORKLOADS, Workload, sampled_by, tiny, write_batch  # noqa: E402

# Vocabulary and sampled ids of a trajectory: twice the one, then twice the other.
GROWTH = {"cpu": [(32768, 128), (65536, 128), (32768, 256)], "cuda": [(75968, 1024), (151936, 1024), (75968, 2048)]}


class Hone:
    """hone's side by itself, on one workload."""

    def __init__(self, workload: Workload, folder: str, precision: str, cache: str, vocab: int) -> None:
        self.workload, self.vocab, self.rng = workload, vocab, np.random.default_rng(11)
        self.side = Side("hone_side.py", folder, workload.device, precision, cache)
        self.side.answer()
        self.at = tempfile.TemporaryDirectory()
        self.place = pathlib.Path(self.at.name) / "batch.jsonl"
        self.step(tiny(8, self.rng, vocab))
        self.side.ask(do="settle")

    def step(self, trajectories: Any = None) -> dict[str, Any]:
        """One step, on the workload's batch unless another is given."""
        trajectories = trajectories or self.workload.batch(self.rng, self.vocab)
        write_batch(self.place, trajectories)
        known = self.side.ask(do="logprobs", batch=str(self.place))["logprobs"]
        write_batch(self.place, sampled_by(trajectories, known, 0))
        return self.side.ask(do="step", batch=str(self.place))

    def published(self) -> float:
        """Seconds to write the adapter in PEFT's layout."""
        return self.side.ask(do="adapter", folder=self.at.name)["seconds"]

    def end(self) -> None:
        self.side.end()
        self.at.cleanup()


def shares(workload: Workload, folder: str, precision: str, options: argparse.Namespace) -> list[str]:
    """A line of the first table."""
    hone = Hone(workload, folder, precision, options.cache, vocab_of(folder))
    hone.step()
    hone.side.ask(do="watch")
    steps = [hone.step() for _ in range(options.repeat)]
    outside = statistics.median(1 - step["in_passes"] for step in steps)
    published = statistics.median(hone.published() for _ in range(options.repeat))
    hone.end()
    seconds = statistics.median(step["seconds"] for step in steps)
    return [workload.name, f"{seconds:.2f}", f"{outside:.1%}", f"{published:.3f}"]


def growth(device: str, precision: str, options: argparse.Namespace) -> list[list[str]]:
    """Lines of the second table."""
    base, out = next(w for w in WORKLOADS if w.device == device), []
    for vocab, sampled in GROWTH[device]:
        workload = replace(base, sampled=sampled, turns=1)
        with model_folder(base.model, [precision], device, options.cache, vocab) as folders:
            hone = Hone(workload, folders[precision], precision, options.cache, vocab)
            peak = max(hone.step()["peak"] for _ in range(2))
            hone.end()
        trained = workload.size * workload.groups * sampled
        whole = trained * vocab * 4
        out.append([f"{vocab:,}", f"{trained:,}", f"{peak / 2**20:,.0f}", f"{whole / 2**20:,.0f}"])
    return out


def vocab_of(folder: str) -> int:
    import json

    return json.loads((pathlib.Path(folder) / "config.json").read_text())["vocab_size"]


def main() -> None:
    parsed = argparse.ArgumentParser(description="Costs of a step besides its passes, and what memory grows with.")
    parsed.add_argument("--device", choices=("cpu", "cuda"))
    parsed.add_argument("--workload", action="append", help="of the first table; all when left out")
    parsed.add_argument("--repeat", type=int, default=5)
    parsed.add_argument("--threads", type=int)
    parsed.add_argument("--cache", default=default_cache())
    options = parsed.parse_args()
    use_threads(options.threads)
    device = options.device or ("cuda" if has_cuda() else "cpu")
    precision = precisions_of(device)[0]
    workloads = [w for w in WORKLOADS if w.device == device and w.name in (options.workload or [w.name])]
    lines = []
    for workload in workloads:
        with model_folder(workload.model, [precision], device, options.cache) as folders:
            lines.append(shares(workload, folders[precision], precision, options))
        print(" | ".join(lines[-1]), file=sys.stderr, flush=True)
    print(markdown(["workload", "seconds a step", "outside forward and backward", "seconds to publish"], lines))
    head = ["vocabulary", "trained tokens", "peak MiB above weights and optimiser", "MiB of their logits in fp32"]
    print("\n" + markdown(head, growth(device, precision, options)))


if __name__ == "__main__":
    main()
