"""Which GPUs servers get beside training: those that it leaves, or else the same ones by turns."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence
from dataclasses import dataclass

from hone_worker.errors import WorkerError
from hone_worker.vllm.vllm_config import VllmConfig


@dataclass(frozen=True)
class Placement:
    """groups: of each server, its GPUs as CUDA_VISIBLE_DEVICES names them, None where there is none; shared: whether
    they are training's."""

    groups: tuple[tuple[str, ...] | None, ...]
    shared: bool


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name.strip() for name in named.split(",") if name.strip() and name.strip() != "-1"]
    cards = pathlib.Path("/proc/driver/nvidia/gpus")
    if cards.is_dir():
        return [str(number) for number in range(len(list(cards.iterdir())))]
    return ["0"] if pathlib.Path("/usr/lib/wsl/lib/libcuda.so.1").exists() else []


def place(config: VllmConfig, gpus: Sequence[str], training: int) -> Placement:
    """Puts servers on GPUs, of which training uses the first ``training``. Raises WorkerError CONFIG_INVALID."""
    size = config.tensor_parallel_size
    if not gpus:
        return Placement((None,) * (config.replicas or 1), shared=False)
    left = list(gpus[training:])
    shared = len(left) < size * (config.replicas or 1)
    pool = list(gpus) if shared else left
    count = config.replicas or len(pool) // size
    if count < 1 or count * size > len(pool):
        raise WorkerError(
            "CONFIG_INVALID",
            f"The vLLM configuration asks for {max(count, 1)} × {size} GPUs; this machine has {len(gpus)}.",
            "Lower replicas or tensor_parallel_size.",
        )
    return Placement(tuple(tuple(pool[i * size : (i + 1) * size]) for i in range(count)), shared)
