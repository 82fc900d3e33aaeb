"""What both sides of the comparison are: a process that answers commands, one JSON object a line, and its memory.

Commands come on stdin and answers go to what was stdout; whatever a library prints goes to stderr.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

import torch


class Channel:
    """Commands in, answers out."""

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)

    def commands(self) -> Iterator[dict[str, Any]]:
        """Until the other end closes."""
        while (command := self.next()) is not None:
            yield command

    def next(self) -> dict[str, Any] | None:
        line = sys.stdin.readline()
        return json.loads(line) if line.strip() else None

    def answer(self, **values: Any) -> None:
        print(json.dumps(values), file=self._out, flush=True)


class Memory:
    """Bytes of this process above a baseline: of the device (CUDA), or resident (CPU)."""

    def __init__(self, device: str) -> None:
        self.cuda = device == "cuda"
        self.baseline = 0

    def settle(self) -> int:
        """Frees what can be freed and takes what is left as the baseline; answers it."""
        gc.collect()
        if self.cuda:
            torch.cuda.empty_cache()
            self.baseline = torch.cuda.memory_allocated()
        else:
            ctypes.CDLL(None).malloc_trim(0)
            self.baseline = _status("VmRSS")
        return self.baseline

    def reset(self) -> None:
        """The peak counts from here."""
        if self.cuda:
            torch.cuda.reset_peak_memory_stats()
        else:
            with open("/proc/self/clear_refs", "w") as file:
                file.write("5")

    def peak(self) -> int:
        """Most bytes above the baseline since ``reset``."""
        return (torch.cuda.max_memory_allocated() if self.cuda else _status("VmHWM")) - self.baseline


class Clock:
    """Seconds since it was made, by the wall and of CPU; waits for the device at both ends."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.wall, self.cpu = self._now()

    def read(self) -> dict[str, float]:
        wall, cpu = self._now()
        return {"seconds": wall - self.wall, "cpu": cpu - self.cpu}

    def _now(self) -> tuple[float, float]:
        if self.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter(), time.process_time()


def _status(name: str) -> int:
    with open("/proc/self/status") as file:
        line = next(line for line in file if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024
