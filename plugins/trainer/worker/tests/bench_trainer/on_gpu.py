"""On a machine with an NVIDIA GPU, one command: the checks that need CUDA, then the benchmark, into one JSON file.

``python tests/bench_trainer/on_gpu.py OUT [--checks-only | --no-checks] [--workload NAME]… [--repeat N]``, in an
environment made from requirements/bench-trainer.txt (and test.txt, for the checks). It needs nothing from the network.
Exit code 1: a check failed, or the two trainers did not compute the same; OUT is written all the same.
"""

from __future__ import annotations

import argparse
import datetime
import json
import pathlib
import platform
import subprocess
import sys
from importlib import metadata
from typing import Any

HERE = pathlib.Path(__file__).resolve().parent
WORKER = HERE.parent.parent


def machine() -> dict[str, Any]:
    """The card and what runs on it."""
    import torch

    if not torch.cuda.is_available():
        raise SystemExit("torch finds no CUDA device here: run this on a machine with an NVIDIA GPU.")
    card = torch.cuda.get_device_properties(0)
    versions = {name: metadata.version(name) for name in ("torch", "transformers", "peft", "lightning", "trl")}
    return {
        "card": card.name,
        "memory_gib": round(card.total_memory / 2**30, 1),
        "capability": f"{card.major}.{card.minor}",
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        **versions,
    }


def ran(*words: str) -> dict[str, Any]:
    """A program's exit code and the ends of what it printed."""
    done = subprocess.run([sys.executable, *words], cwd=WORKER, capture_output=True, text=True, check=False)
    print(done.stderr[-2000:], file=sys.stderr)
    return {"exit_code": done.returncode, "stdout": done.stdout, "stderr": done.stderr[-4000:]}


def main() -> int:
    parser = argparse.ArgumentParser(description="Checks and benchmark of the torch engine on a GPU.")
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--checks-only", action="store_true")
    parser.add_argument("--no-checks", action="store_true")
    parser.add_argument("--workload", action="append", default=[])
    parser.add_argument("--repeat", default="20")
    options = parser.parse_args()
    found: dict[str, Any] = {"machine": machine()}
    if not options.no_checks:
        found["checks"] = ran("-m", "pytest", "-q", "-p", "no:cacheprovider", "-rA", "tests/lightning/test_cuda.py")
    if not options.checks_only:
        chosen = [word for name in options.workload for word in ("--workload", name)]
        words = ("--device", "cuda", "--repeat", options.repeat, "--warm-up", "5", "--format", "json", *chosen)
        compared = ran("tests/bench_trainer/compare.py", *words)
        found["comparisons"] = json.loads(compared.pop("stdout") or "null")
        found["compare"] = compared
        found["overhead"] = ran("tests/bench_trainer/overhead.py", "--device", "cuda", "--repeat", "5")
    options.out.write_text(json.dumps(found, indent=2))
    parts = [found[name]["exit_code"] for name in ("checks", "compare", "overhead") if name in found]
    return int(any(parts))


if __name__ == "__main__":
    sys.exit(main())
