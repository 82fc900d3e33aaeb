"""Makes the sampler of a run whose rollouts come from vLLM: starts the servers or takes those that run, checks them.

Errors: WorkerErrors of ``vllm_process``, ``server_checks``, ``placement`` and ``vllm_config``.
"""

from __future__ import annotations

import asyncio
import os
import pathlib
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hone_worker.errors import WorkerError
from hone_worker.lora import Params
from hone_worker.step_figures import MISMATCH_WARNING
from hone_worker.vllm.http_client import Address
from hone_worker.vllm.placement import Placement, place, visible_gpus
from hone_worker.vllm.replicas import Replica, Warn
from hone_worker.vllm.server_checks import Expected, check, compare
from hone_worker.vllm.vllm_api import VllmApi
from hone_worker.vllm.vllm_config import VllmConfig, lora_rank
from hone_worker.vllm.vllm_process import KNOWN, Say, Serving, VllmProcess, check_version
from hone_worker.vllm.vllm_sampler import VllmSampler

_SOCKET_PATH_BYTES = 90


@dataclass(frozen=True)
class Trained:
    """What is trained, as far as servers must know. folder: makes the base model's folder; gpus: how many of this
    machine's training uses; prompt: ids of a short prompt; params: the adapter now; write: writes numbers as a PEFT
    folder; reference: of a prompt and an answer, the answer's logp under the base model; free: gives back the GPUs'
    memory that training holds unused; dtype: of its base model, by vLLM's names."""

    folder: Callable[[], pathlib.Path]
    context_tokens: int
    eos_ids: list[int]
    decode: Callable[[list[int]], str]
    prompt: list[int]
    rank: int
    params: Params
    write: Callable[[Params, pathlib.Path], None]
    reference: Callable[[list[int], list[int]], np.ndarray]
    gpus: int = 0
    free: Callable[[], None] = lambda: None
    dtype: str | None = None


@dataclass(frozen=True)
class Opened:
    """The sampler, and facts for whoever reports: how many servers, whether they sleep while a step runs, seconds
    until all were ready, and the largest mean |Δ logp| to the trainer."""

    sampler: VllmSampler
    replicas: int
    shares_gpu: bool
    ready_secs: float
    mismatch_abs: float


def open_rollouts(config: VllmConfig, trained: Trained, max_staleness: int, say: Say, warn: Warn) -> Opened:
    """Starts or takes the servers, and serves the base model; whatever was started ends if that fails."""
    lora_rank(trained.rank)  # refused before anything is started
    if (config.max_model_len or trained.context_tokens) < trained.context_tokens and not config.urls:
        raise WorkerError(
            "VLLM_CONTEXT",
            f"max_model_len is {config.max_model_len}; the run's context has {trained.context_tokens} tokens.",
            f"Set context_tokens: {config.max_model_len}, or raise max_model_len.",
        )
    placement = Placement((), shared=False)
    if not config.urls:
        placement = place(config, visible_gpus(), trained.gpus)
        version = _checked_version(config, warn)
    folder = _private_folder(config)
    if config.urls:
        members = [_running(url, config) for url in config.urls]
    else:
        say(f"starting vLLM {version} ({len(placement.groups)} of them)")
        members = _started(config, trained, max_staleness, placement, folder)
    sampler = VllmSampler(
        members, trained.decode, trained.eos_ids, max_staleness, trained.write, folder, warn, placement.shared,
        trained.free)
    try:
        ready_secs = sampler.call(_ready(members, config, say))
        probe = folder / f"{folder.name}-probe"
        probe.mkdir()
        trained.write(trained.params, probe)
        expected = Expected(
            trained.context_tokens, trained.rank, trained.prompt, tuple(trained.eos_ids), str(probe), trained.reference)
        gaps = [compare(member, expected, sampler.call(check(member, expected))) for member in members]
        shutil.rmtree(probe)
    except BaseException:
        sampler.close()
        raise
    if max(gaps) > MISMATCH_WARNING:
        warn("OFF_POLICY", f"vLLM and the trainer differ by {max(gaps):.3g} per token in log-probability.")
    return Opened(sampler, len(members), placement.shared, ready_secs, max(gaps))


def _running(url: str, config: VllmConfig) -> Replica:
    address = Address.of_url(url)
    return Replica(f"vLLM at {address.shown}", VllmApi(address, config.api_key))


def _checked_version(config: VllmConfig, warn: Warn) -> str:
    version = check_version(config.python or "")
    known = [".".join(map(str, release)) for release in KNOWN]
    if not any(version.startswith(f"{release}.") for release in known):
        warn("VLLM_VERSION", f"vLLM {version} is not one of those that hone knows ({', '.join(known)}).")
    return version


def _started(
    config: VllmConfig, trained: Trained, max_staleness: int, placement: Placement, folder: pathlib.Path
) -> list[Replica]:
    serving = Serving(
        str(trained.folder()), trained.context_tokens, trained.rank, max_staleness + 2, placement.groups[0] is None,
        placement.shared, trained.dtype)
    if placement.shared:
        trained.free()
    members = []
    for number, gpus in enumerate(placement.groups):
        process = VllmProcess(config, serving, folder, number, gpus)
        members.append(Replica(f"vLLM server {number}", process.api, process))
    return members


async def _ready(members: list[Replica], config: VllmConfig, say: Say) -> float:
    started = [member.process for member in members if member.process is not None]
    times = await asyncio.gather(*(process.ready(config.start_timeout_secs, say) for process in started))
    return max(times, default=0.0)


def _private_folder(config: VllmConfig) -> pathlib.Path:
    """For sockets, logs and adapters; the names of Unix sockets are short."""
    if config.adapter_dir:
        os.makedirs(config.adapter_dir, exist_ok=True)
        shared = pathlib.Path(tempfile.mkdtemp(prefix="hone-vllm-", dir=config.adapter_dir))
        shared.chmod(0o755)
        return shared
    made = tempfile.mkdtemp(prefix="hone-vllm-")
    if len(os.fsencode(made)) > _SOCKET_PATH_BYTES and os.path.isdir("/tmp"):
        os.rmdir(made)
        made = tempfile.mkdtemp(prefix="hone-vllm-", dir="/tmp")
    return pathlib.Path(made)
