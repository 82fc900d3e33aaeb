"""What must hold of a server before rollouts rely on it; each check ends in one message that says what to change.

Errors: WorkerError VLLM_UNREACHABLE, VLLM_VERSION, VLLM_CONTEXT, VLLM_ADAPTERS, VLLM_LOGPROBS, VLLM_OTHER_MODEL.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hone_worker.errors import WorkerError
from hone_worker.step_figures import MISMATCH_LIMIT
from hone_worker.vllm.replicas import Replica
from hone_worker.vllm.vllm_api import Completion, Refused, Sampling
from hone_worker.vllm.vllm_config import lora_rank
from hone_worker.vllm.vllm_process import refuse_old

# A server that says nothing for so long is none.
_ANSWER_SECS = 30.0
_PROBE_TOKENS = 16
_SAME = 1e-3
# A token this certain hardly changes with the temperature.
_CERTAIN = -0.05


@dataclass(frozen=True)
class Expected:
    """What the run needs. prompt: ids of a short prompt; adapter: a PEFT folder; reference: of a prompt and an answer,
    the answer's logp under the base model as the trainer computes it."""

    context_tokens: int
    rank: int
    prompt: list[int]
    eos_ids: tuple[int, ...]
    adapter: str
    reference: Callable[[list[int], list[int]], np.ndarray]


async def check(replica: Replica, expected: Expected) -> Completion:
    """Looks at a server, fills in ``replica.base``, and returns its answer to the short prompt."""
    try:
        if replica.process is None:
            hint = "Start it with vLLM 0.33."
            async with asyncio.timeout(_ANSWER_SECS):
                version = await replica.api.version()
            refuse_old(version, replica.shown, hint)
        await _check_model(replica, expected)
        await _check_adapters(replica, expected)
        await _check_logprobs(replica, expected)
        wanted = Sampling(expected.prompt, _PROBE_TOKENS, 0, stop_ids=expected.eos_ids)
        return await replica.api.complete(replica.base, wanted)
    except (ConnectionError, TimeoutError) as error:
        why = str(error) or f"no answer within {_ANSWER_SECS:.0f} s"
        raise WorkerError(
            "VLLM_UNREACHABLE", f"Cannot reach {replica.shown}: {why}.", "Start it, or correct its URL.") from error
    except Refused as error:
        key = error.status == 401
        raise WorkerError(
            "VLLM_UNREACHABLE",
            f"{replica.shown} {'does not accept the key' if key else f'refused a request: {error.words}'}.",
            "Give the key that it was started with." if key else "It must be an OpenAI-compatible server of vLLM.",
        ) from error


async def _check_model(replica: Replica, expected: Expected) -> None:
    found = await replica.api.base()
    replica.base = found.name
    if found.max_model_len < expected.context_tokens:
        raise WorkerError(
            "VLLM_CONTEXT",
            f"{replica.shown} serves {found.max_model_len} tokens; the run's context has {expected.context_tokens}.",
            f"Start it with --max-model-len {expected.context_tokens}, or set context_tokens: {found.max_model_len}.",
        )


async def _check_adapters(replica: Replica, expected: Expected) -> None:
    name = expected.adapter.rstrip("/").rpartition("/")[2]
    try:
        await replica.api.load_adapter(name, expected.adapter)
        await replica.api.unload_adapter(name)
    except Refused as error:
        flags = f"--enable-lora --max-lora-rank {lora_rank(expected.rank)}"
        if error.status == 404 and "Not Found" in error.words:
            problem = "does not take adapters while it runs"
            hint = f"Start it with VLLM_ALLOW_RUNTIME_LORA_UPDATING=True and {flags}."
        else:
            problem = f"refused an adapter of this run: {error.words}"
            hint = f"Start it with {flags}; it must be able to read {expected.adapter} (adapter_dir)."
        raise WorkerError("VLLM_ADAPTERS", f"{replica.shown} {problem}.", hint) from error


async def _check_logprobs(replica: Replica, expected: Expected) -> None:
    """Raw log-probabilities are the same at every temperature; those of the distribution sampled from are not."""
    tops = []
    for temperature in (1.0, 2.0):
        wanted = Sampling(expected.prompt, 1, 0, temperature, stop_ids=expected.eos_ids)
        tops.append((await replica.api.complete(replica.base, wanted, likeliest=True)).top)
    cold, hot = tops
    if cold is None or hot is None or cold[0] != hot[0] or cold[1] > _CERTAIN:
        return
    if abs(cold[1] - hot[1]) < _SAME:
        raise WorkerError(
            "VLLM_LOGPROBS",
            f"{replica.shown} returns log-probabilities before the temperature is applied.",
            "Start it with --logprobs-mode processed_logprobs.",
        )


def compare(replica: Replica, expected: Expected, found: Completion) -> float:
    """Mean |Δ logp| of a server's answer to the short prompt."""
    logp = expected.reference(expected.prompt, found.ids)
    gap = float(np.abs(np.asarray(found.logprobs) - logp).mean())
    if not gap <= MISMATCH_LIMIT:
        raise WorkerError(
            "VLLM_OTHER_MODEL",
            f"{replica.shown} does not serve the model that is trained: "
            f"log-probabilities differ by {gap:.3g} per token.",
            "Serve the same model, in the same precision.",
        )
    return gap
