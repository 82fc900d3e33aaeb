"""The torch engine beside TRL's GRPOTrainer: the same steps in turn, each side in a process of its own.

Run by ``deno task bench:trainer``, or in an environment made from requirements/bench-trainer.txt by
``python tests/bench_trainer/compare.py`` with the same options. Exit code 1: the sides did not compute the same.

Per workload and peer: both sides load the same weights and the same adapter of rank 16 and take a step on a few ids,
after which memory counts from zero; hone gives log-probabilities of random batches, which with noise become those of
the sampler; then both take the same steps in turn, with the loss dapo, AdamW and clipping at norm 1. What is timed is
a step on rows that are in memory: TRL's begins when its rows are padded, hone's with the trajectories as read.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import groupby
from typing import Any

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent.parent)]

import numpy as np  # noqa: E402
from figures import Comparison, Step, table, unequal  # noqa: E402
from workloads import WORKLOADS, Workload, sampled_by, tiny, write_batch  # noqa: E402

from hone_worker.packing import pack  # noqa: E402
from hone_worker.rows import to_rows  # noqa: E402

# TRL's configurations; the best of them counts. batch: rows of a micro-batch (None: all of the step); trim: without
# padding, which GRPOTrainer cannot do by itself; compact: what it does on GPUs only, the head over trained positions.
PEERS: dict[str, dict[str, Any]] = {
    "batch 8, checkpointing (TRL's defaults)": {"batch": 8, "checkpointing": True},
    "batch 8": {"batch": 8, "checkpointing": False},
    "batch 1, padding cut off": {"batch": 1, "checkpointing": False, "trim": True},
    "batch 1, padding cut off, checkpointing": {"batch": 1, "checkpointing": True, "trim": True},
    "batch 8, head on trained positions": {"batch": 8, "checkpointing": False, "compact": True},
    "batch 1, padding cut off, head on trained positions": {
        "batch": 1, "checkpointing": False, "trim": True, "compact": True,
    },
}  # fmt: skip
CPU_ONLY = [name for name in PEERS if "head" in name]


class Side:
    """One side's process."""

    def __init__(self, script: str, *words: str) -> None:
        env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
        env["HF_HUB_DISABLE_TELEMETRY"] = "1"
        command = [sys.executable, str(HERE / script), *words]
        self.script = script
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env,
        )  # fmt: skip
        # A side that says much must not wait for somebody to read it.
        self.log = tempfile.TemporaryFile("w+")
        self._drain = subprocess.Popen(["cat"], stdin=self.process.stderr, stdout=self.log)

    def ask(self, **command: Any) -> dict[str, Any]:
        """Sends a command and returns the answer."""
        with suppress(BrokenPipeError):
            print(json.dumps(command), file=self.process.stdin, flush=True)
        return self.answer()

    def answer(self) -> dict[str, Any]:
        line = self.process.stdout.readline()  # type: ignore[union-attr]
        if not line:
            self.end()
            self.log.seek(0)
            raise SystemExit(f"{self.script} ended:\n{self.log.read()[-3000:]}")
        return json.loads(line)

    def step(self, batch: pathlib.Path) -> Step:
        return Step(**self.ask(do="step", batch=str(batch)))

    def end(self) -> None:
        self.process.stdin.close()  # type: ignore[union-attr]
        self.process.wait()
        self._drain.wait()


@contextmanager
def sides(folder: str, device: str, precision: str, cache: str, peer: dict[str, Any]) -> Iterator[tuple[Side, Side]]:
    """Both processes, loaded, with the same adapter."""
    hone = Side("hone_side.py", folder, device, precision, cache)
    trl = Side("trl_side.py", folder, device, precision, json.dumps(peer))
    try:
        hone.answer(), trl.answer()
        with tempfile.TemporaryDirectory() as adapter:
            hone.ask(do="adapter", folder=adapter)
            trl.ask(do="adapter", folder=adapter)
        yield hone, trl
    finally:
        hone.end(), trl.end()


def measure(
    workload: Workload, peer: str, folder: str, precision: str, cache: str, warm_up: int, repeat: int
) -> tuple[list[Step], list[Step], int, int]:
    """Timed steps of hone and of TRL, and the tokens of a step: logical, computed by hone."""
    rng = np.random.default_rng(11)
    vocab = json.loads((pathlib.Path(folder) / "config.json").read_text())["vocab_size"]
    rows = to_rows(workload.batch(rng, vocab))
    tree = pack(rows)
    configuration = {**PEERS[peer], "rows": len(rows)}
    both = sides(folder, workload.device, precision, cache, configuration)
    with both as (hone, trl), tempfile.TemporaryDirectory() as at:
        place = pathlib.Path(at) / "batch.jsonl"

        def take(trajectories: list[Any], turn: int) -> tuple[Step, Step]:
            write_batch(place, trajectories)
            known = hone.ask(do="logprobs", batch=str(place))["logprobs"]
            write_batch(place, sampled_by(trajectories, known, turn))
            if turn % 2:
                return hone.step(place), trl.step(place)
            other = trl.step(place)
            return hone.step(place), other

        take(tiny(len(rows), rng, vocab), 0)
        hone.ask(do="settle"), trl.ask(do="settle")
        taken = [take(workload.batch(rng, vocab), turn) for turn in range(warm_up + repeat)]
    timed = taken[warm_up:]
    return [mine for mine, _ in timed], [other for _, other in timed], tree.logical, len(tree.ids)


def compare(workload: Workload, peer: str, options: argparse.Namespace, folders: dict[str, str]) -> Comparison:
    """One comparison. On CUDA it is timed in bf16, and equality judged in fp32, whose last digits mean something."""
    precision = precisions_of(workload.device)[0]
    hone, trl, logical, physical = measure(
        workload, peer, folders[precision], precision, options.cache, options.warm_up, options.repeat)
    checked = None
    if precision != "fp32":
        checked = measure(workload, peer, folders["fp32"], "fp32", options.cache, 0, 2)[:2]
    return Comparison(workload.name, f"trl {version()}, {peer}", logical, physical, hone, trl, checked)


def version() -> str:
    from importlib.metadata import version as of

    return of("trl")


@contextmanager
def model_folder(
    name: str, precisions: list[str], device: str, cache: str, vocab: int | None = None
) -> Iterator[dict[str, str]]:
    """The model by precision, in folders that go when the comparison is done."""
    with tempfile.TemporaryDirectory() as at:
        out = {}
        for precision in precisions:
            folder = pathlib.Path(at) / precision
            dtype = {"fp32": "float32", "bf16": "bfloat16"}[precision]
            words = [sys.executable, str(HERE / "model_folders.py"), name, str(folder), dtype, device, cache]
            words += [str(vocab)] if vocab else []
            subprocess.run(words, check=True, capture_output=True)
            out[precision] = str(folder)
        yield out


def parser() -> argparse.ArgumentParser:
    parsed = argparse.ArgumentParser(description="Compares the torch engine with TRL on the same steps.")
    add = parsed.add_argument
    add("--device", choices=("cpu", "cuda"), help="cuda where torch finds one")
    add("--workload", action="append", metavar="NAME", help="of the device's; all when left out")
    add("--peer", action="append", metavar="NAME", help="TRL's configuration; all when left out")
    add("--model", metavar="NAME", help="another model than the workload's: smollm2-135m, or one of model_folders.py")
    add("--warm-up", type=int, default=1, metavar="N", help="steps before the timed ones (%(default)s)")
    add("--repeat", type=int, default=5, metavar="N", help="timed steps (%(default)s)")
    add("--threads", type=int, metavar="N", help="of each side on a CPU; all cores when left out")
    add("--format", choices=("table", "json"), default="table")
    add("--cache", default=default_cache())
    return parsed


def chosen(options: argparse.Namespace) -> list[tuple[Workload, str]]:
    """What is compared; ends with the known names when one is unknown."""
    device = options.device or ("cuda" if has_cuda() else "cpu")
    known = {w.name: w for w in WORKLOADS if w.device == device}
    peers = [name for name in PEERS if device == "cpu" or name not in CPU_ONLY]
    for asked, names, what in ((options.workload, known, "workload"), (options.peer, peers, "peer")):
        for name in asked or []:
            if name not in names:
                raise SystemExit(f"No {what} {name!r} on {device}; there are: {'; '.join(names)}.")
    workloads = [known[name] for name in options.workload or known]
    if options.model:
        workloads = [replace(workload, model=options.model) for workload in workloads]
    return [(workload, peer) for workload in workloads for peer in options.peer or peers]


def precisions_of(device: str) -> list[str]:
    """What is timed, then what equality is judged in."""
    return ["fp32"] if device == "cpu" else ["bf16", "fp32"]


def use_threads(count: int | None) -> None:
    """Of each side; all cores when None."""
    if count:
        os.environ["OMP_NUM_THREADS"] = str(count)


def default_cache() -> str:
    return os.environ.get("HONE_CACHE_DIR") or str(pathlib.Path.home() / ".cache" / "hone")


def has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()


def main() -> int:
    options = parser().parse_args()
    use_threads(options.threads)
    done: list[Comparison] = []
    for (model, device), pairs in groupby(chosen(options), lambda pair: (pair[0].model, pair[0].device)):
        with model_folder(model, precisions_of(device), device, options.cache) as folders:
            for workload, peer in pairs:
                done.append(compare(workload, peer, options, folders))
                print(" | ".join(done[-1].cells()), file=sys.stderr, flush=True)
    rows = [comparison.row() for comparison in done]
    print(json.dumps(rows, indent=2) if options.format == "json" else table(done))
    wrong = unequal(rows)
    print("\n".join(wrong), end="\n" if wrong else "", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
