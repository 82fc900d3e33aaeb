"""What ``serve`` may say of vLLM, as a frozen value.

``VllmConfig.from_json`` names an unknown or impossible value in a WorkerError CONFIG_INVALID.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from hone_worker.errors import WorkerError

# The ranks that vLLM has room for; --max-lora-rank takes no other.
LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)


@dataclass(frozen=True)
class VllmConfig:
    """Servers to start, or servers that already run (``urls``).

    Servers to start: ``python`` is the interpreter of an environment with vLLM; ``replicas`` how many servers (None:
    as many as the GPUs left by training allow, at least one), each over ``tensor_parallel_size`` GPUs, of which vLLM
    may take the share ``gpu_memory_utilization`` (None: 0.9, and 0.4 where it shares a GPU with training);
    ``max_model_len`` in tokens (None: the run's context); ``dtype`` of the base model (None: the trainer's); ``args``
    are appended to the command; ``start_timeout_secs`` is the longest that a start may take.

    Running servers: ``urls`` end with or without /v1; ``api_key`` is sent to each; ``adapter_dir`` is a folder that
    the worker writes and that every server reads under the same path (None: a temporary folder of this machine).
    """

    python: str | None = None
    urls: tuple[str, ...] = ()
    api_key: str | None = None
    adapter_dir: str | None = None
    replicas: int | None = None
    tensor_parallel_size: int = 1
    gpu_memory_utilization: float | None = None
    max_model_len: int | None = None
    dtype: str | None = None
    args: tuple[str, ...] = ()
    start_timeout_secs: float = 1800.0

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> VllmConfig:
        """Reads the ``vllm`` object of ``serve``; null is as if left out."""
        known = {field.name for field in fields(cls)}
        given = {key: value for key, value in values.items() if value is not None}
        unknown = sorted(set(given) - known)
        if unknown:
            raise _invalid(f"has no option {unknown[0]!r}", f"Options: {', '.join(sorted(known))}.")
        for name, (kinds, holds, wanted) in _WANTED.items():
            value = given.get(name)
            wrong = isinstance(value, bool) or not isinstance(value, kinds) or not holds(value)
            if value is not None and wrong:
                raise _invalid(f"has {name} {value!r}", f"It is {wanted}.")
        for name in ("urls", "args"):
            given[name] = tuple(given.get(name, ()))
        config = cls(**given)
        if config.urls and config.python:
            raise _invalid("has both urls and python", "Give urls of running servers, or a Python to start some.")
        if not config.urls and not config.python:
            raise _invalid("has neither urls nor python", "Give the Python of an environment with vLLM.")
        return config


def lora_rank(rank: int) -> int:
    """The smallest rank that vLLM has room for and that holds ``rank``; raises WorkerError CONFIG_INVALID."""
    for offered in LORA_RANKS:
        if rank <= offered:
            return offered
    raise _invalid(f"cannot serve adapters of rank {rank}", f"vLLM takes ranks up to {LORA_RANKS[-1]}.")


def _texts(value: Any) -> bool:
    return all(isinstance(item, str) and item for item in value)


def _url(value: Any) -> bool:
    return _texts(value) and all(item.startswith(("http://", "https://")) for item in value)


_WANTED: dict[str, tuple[type | tuple[type, ...], Any, str]] = {
    "python": (str, len, "a path"),
    "urls": ((list, tuple), _url, "a list of http(s) URLs"),
    "api_key": (str, len, "text"),
    "adapter_dir": (str, len, "a folder"),
    "replicas": (int, lambda value: value >= 1, "1 or more"),
    "tensor_parallel_size": (int, lambda value: value >= 1, "1 or more"),
    "gpu_memory_utilization": ((int, float), lambda value: 0 < value <= 1, "greater than 0 and at most 1"),
    "max_model_len": (int, lambda value: value >= 1, "1 or more"),
    "dtype": (str, len, "a dtype such as float32 or bfloat16"),
    "args": ((list, tuple), _texts, "a list of words"),
    "start_timeout_secs": ((int, float), lambda value: value > 0, "greater than 0"),
}


def _invalid(problem: str, hint: str) -> WorkerError:
    return WorkerError("CONFIG_INVALID", f"The vLLM configuration {problem}.", hint)
