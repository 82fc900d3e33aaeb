"""vLLM's server as a process of the worker: started, waited for, and never alive after it.

The server listens on a Unix socket in a private folder, because the routes by which it sleeps and wakes ask for no
key. Errors: WorkerError VLLM_MISSING, VLLM_VERSION, VLLM_NOT_STARTED.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pathlib
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hone_worker.errors import WorkerError
from hone_worker.vllm.http_client import Address
from hone_worker.vllm.vllm_api import VllmApi
from hone_worker.vllm.vllm_config import VllmConfig, lora_rank

# Releases whose interface hone knows: 0.32 runs in `deno task test:vllm`, 0.33 is the one locked for CUDA. Older ones
# lack fields that it reads.
KNOWN = ((0, 32), (0, 33))
_POLL_SECS = 0.25
_SAY_SECS = 5.0
_LOG_PREFIX = r"^(\([^)]*\) )?([A-Z]+ [\d-]+ [\d:]+ \[[^\]]*\] )?"
_GUARD = pathlib.Path(__file__).with_name("guard.py")
_VERSION_CODE = """
import importlib.metadata as metadata, importlib.util as util
try: print(metadata.version("vllm"))
except metadata.PackageNotFoundError: print("unnamed" if util.find_spec("vllm") else "")
"""
# torchrun's contract with the trainer's ranks is not the server's.
_NOT_ITS = {"PYTHONPATH", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}

Say = Callable[[str], None]


@dataclass(frozen=True)
class Serving:
    """What every server of a run has in common. model: a folder; rank: of the adapters; versions: how many of them may
    be in use at a time; cpu: whether there is no GPU; shares_gpu: whether it is also the trainer's; dtype: in which the
    trainer computes, None where it does not say."""

    model: str
    context_tokens: int
    rank: int
    versions: int
    cpu: bool
    shares_gpu: bool = False
    dtype: str | None = None


class VllmProcess:
    """One server, from its start. ``gpus``: what CUDA_VISIBLE_DEVICES says for it; None leaves it as it is."""

    def __init__(
        self, config: VllmConfig, serving: Serving, folder: pathlib.Path, number: int, gpus: Sequence[str] | None
    ) -> None:
        self._log = folder / f"{number}.log"
        socket = folder / f"{number}.sock"
        self.api = VllmApi(Address.of_socket(str(socket)))
        self._started = time.monotonic()
        command = [sys.executable, str(_GUARD), str(folder), *command_of(config, serving, str(socket))]
        with self._log.open("wb") as log:
            # hone ends the worker's process group at once; who ends the server must not be in it.
            self._guard = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=_environment(serving, gpus),
                start_new_session=True)

    def exit_code(self) -> int | None:
        """How the server ended; None while it runs."""
        return self._guard.poll()

    def last_words(self, lines: int = 8) -> str:
        """The end of what the server wrote."""
        with self._log.open("rb") as log:
            log.seek(max(0, self._log.stat().st_size - 32768))
            text = log.read().decode("utf-8", "replace")
        clean = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text)
        return "\n".join([line.rstrip()[:400] for line in clean.splitlines() if line.strip()][-lines:])

    async def ready(self, timeout_secs: float, say: Say) -> float:
        """Waits until the server answers: seconds since its start."""
        said = self._started
        while not await self.api.healthy():
            now = time.monotonic()
            if self.exit_code() is not None:
                raise WorkerError(
                    "VLLM_NOT_STARTED",
                    f"vLLM ended with exit code {self.exit_code()} before it could serve:\n{self.last_words()}",
                    "The last lines say why. `rollouts: { args: [...] }` changes vLLM's options; "
                    "`rollouts: { engine: worker }` does without vLLM.",
                )
            if now - self._started > timeout_secs:
                self.end()
                raise WorkerError(
                    "VLLM_NOT_STARTED",
                    f"vLLM was not ready after {timeout_secs:.0f} s. It said last:\n{self.last_words()}",
                    "If it was still loading, start it yourself and name it by `rollouts: { urls: [...] }`.",
                )
            if now - said >= _SAY_SECS:
                said = now
                latest = re.sub(_LOG_PREFIX, "", self.last_words(1)).strip()
                say(": ".join([f"vLLM starts ({now - self._started:.0f} s)", *([latest[:120]] if latest else [])]))
            await asyncio.sleep(_POLL_SECS)
        return time.monotonic() - self._started

    def end(self) -> None:
        """Ends the server and waits for it; whoever is being answered gets no answer. The folder stays."""
        if self._guard.stdin is not None and not self._guard.stdin.closed:
            with contextlib.suppress(BrokenPipeError):
                self._guard.stdin.write(b"e")
                self._guard.stdin.close()
        self._guard.wait()

    def leave(self) -> None:
        """Lets the server end and its folder go, without waiting for it: as if the worker were gone."""
        if self._guard.stdin is not None:
            self._guard.stdin.close()


def command_of(config: VllmConfig, serving: Serving, socket: str) -> list[str]:
    """The words that start a server."""
    words = [config.python or sys.executable, "-m", "vllm.entrypoints.cli.main", "serve", serving.model]
    words += ["--uds", socket, "--max-model-len", str(config.max_model_len or serving.context_tokens)]
    words += ["--enable-lora", "--max-lora-rank", str(lora_rank(serving.rank)), "--max-loras", str(serving.versions)]
    # Log-probabilities of the distribution that is sampled from, which no file of the model may change.
    words += ["--logprobs-mode", "processed_logprobs", "--generation-config", "vllm", "--enable-prompt-tokens-details"]
    words += ["--dtype", config.dtype or serving.dtype or ("float32" if serving.cpu else "auto")]
    words += ["--tensor-parallel-size", str(config.tensor_parallel_size)]
    if serving.cpu:
        words += ["--enforce-eager"]  # what it compiles otherwise needs a C++ compiler
    else:
        share = config.gpu_memory_utilization or (0.4 if serving.shares_gpu else 0.9)
        words += ["--gpu-memory-utilization", str(share)]
    if serving.shares_gpu:
        words += ["--enable-sleep-mode"]
    return [*words, *config.args]


def _environment(serving: Serving, gpus: Sequence[str] | None) -> dict[str, str]:
    environment = {key: value for key, value in os.environ.items() if key not in _NOT_ITS}
    environment |= {
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
        "VLLM_NO_USAGE_STATS": "1",
        "PYTHONUNBUFFERED": "1",
    }
    if serving.cpu:
        environment.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")  # GiB
    if serving.shares_gpu:
        environment["VLLM_SERVER_DEV_MODE"] = "1"
    if gpus is not None:
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
    return environment


def check_version(python: str) -> str:
    """The version of vLLM in an environment; refuses where there is none that hone can use."""
    hint = "Leave `python` out of `rollouts` and hone makes an environment, or install vllm==0.33.0 in it."
    try:
        done = subprocess.run(
            [python, "-c", _VERSION_CODE], capture_output=True, text=True, timeout=120, check=True,
            env={key: value for key, value in os.environ.items() if key not in _NOT_ITS})
        found = done.stdout.strip()
    except (OSError, subprocess.SubprocessError) as error:
        raise WorkerError("VLLM_MISSING", f"Cannot run {python!r} for vLLM: {error}", hint) from error
    if not found:
        raise WorkerError("VLLM_MISSING", f"There is no vLLM in the environment of {python!r}.", hint)
    if found == "unnamed":
        raise WorkerError(
            "VLLM_MISSING",
            f"The vLLM of {python!r} has no distribution record named vllm, which its own command needs.",
            hint,
        )
    refuse_old(found, repr(python), hint)
    return found


def refuse_old(version: str, place: str, hint: str) -> None:
    """Raises VLLM_VERSION for a version older than the first one tested."""
    numbers = re.match(r"(\d+)\.(\d+)", version)
    if numbers and (int(numbers[1]), int(numbers[2])) < KNOWN[0]:
        wanted = ".".join(map(str, KNOWN[0]))
        raise WorkerError("VLLM_VERSION", f"The vLLM of {place} is {version}; {wanted} or newer is wanted.", hint)
