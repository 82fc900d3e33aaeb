"""How much memory a device has: what is free now, and what there is at all.

On a CPU both keep to the limit of this process's control group (cgroup v2).
"""

from __future__ import annotations

import os
import pathlib

import torch

_GROUP = pathlib.Path("/sys/fs/cgroup")


def free_bytes(device: torch.device) -> float:
    """What can be taken now."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        # Torch has taken more than it uses, and gives it to whoever asks next.
        return float(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))
    lines = pathlib.Path("/proc/meminfo")
    if not lines.is_file():
        return _machine()
    facts = dict(line.split(":", 1) for line in lines.read_text().splitlines())
    return min(1024.0 * float(facts["MemAvailable"].split()[0]), _free_in_group(_GROUP))


def whole_bytes() -> float:
    """What this machine has for this process, whatever is taken of it."""
    return min(_machine(), _limit(_GROUP))


def _machine() -> float:
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def _limit(group: pathlib.Path) -> float:
    path = group / "memory.max"
    text = path.read_text().strip() if path.is_file() else ""
    return float(text) if text.isdigit() else float("inf")


def _free_in_group(group: pathlib.Path) -> float:
    """What the group still allows; files that are only cached are given back when needed."""
    paths = [group / name for name in ("memory.current", "memory.stat")]
    if not all(path.is_file() for path in paths):
        return float("inf")
    used, stat = (path.read_text().strip() for path in paths)
    parts = dict(line.split() for line in stat.splitlines())
    return _limit(group) - float(used) + float(parts["active_file"]) + float(parts["inactive_file"])
