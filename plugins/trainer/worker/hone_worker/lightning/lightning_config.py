"""The engine's own options, ``engine_options`` of ``init``.

Errors: WorkerError CONFIG_INVALID names the first unknown or impossible option.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from hone_worker.errors import WorkerError

_CHOICES: dict[str, tuple[Any, ...]] = {
    "precision": ("auto", "fp32", "bf16", "fp16"),
    "quantize": (None, "4bit"),
    "gradient_checkpointing": ("auto", True, False),
    "prefix_sharing": ("auto", "always", "never"),
    "strategy": ("ddp", "fsdp2"),
}
_LOGGERS = ("csv", "tensorboard", "wandb", "mlflow")


@dataclass(frozen=True)
class LightningConfig:
    """precision: of the frozen weights and their products (auto: fp32 on the CPU, bf16 on CUDA; the adapter is fp32
    always); quantize: 4-bit weights, CUDA only; gradient_checkpointing: compute layers twice instead of keeping what
    they made (auto: where memory needs it); micro_batch_tokens: at most so many tokens a pass computes together (0: by
    memory); prefix_sharing: ids that rows share are computed once (auto: where it pays); devices of a node ("auto":
    all), nodes, strategy: how training is spread; loggers: what ``telemetry`` writes besides the report, into log_dir;
    carbon: {country_iso_code} to estimate emissions."""

    precision: str = "auto"
    quantize: str | None = None
    gradient_checkpointing: str | bool = "auto"
    micro_batch_tokens: int = 0
    prefix_sharing: str = "auto"
    devices: str | int = "auto"
    nodes: int = 1
    strategy: str = "ddp"
    loggers: tuple[dict[str, Any], ...] = ()
    log_dir: str | None = None
    carbon: dict[str, Any] | None = None

    @classmethod
    def from_json(cls, values: dict[str, Any] | None) -> LightningConfig:
        """Reads ``engine_options``."""
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(values or {}) - known)
        if unknown:
            raise _invalid(f"has no option {unknown[0]!r}", f"Options: {', '.join(sorted(known))}.")
        given = {key: value for key, value in (values or {}).items() if value is not None}
        config = cls(**{**given, "loggers": tuple(given.get("loggers", ()))})
        config._check()
        return config

    def _check(self) -> None:
        for name, allowed in _CHOICES.items():
            value = getattr(self, name)
            if not any(value is choice or (isinstance(choice, str) and value == choice) for choice in allowed):
                raise _invalid(f"has {name} {value!r}", f"It is one of {', '.join(map(_text, allowed))}.")
        for name, least in (("micro_batch_tokens", 0), ("nodes", 1)):
            if not _whole(getattr(self, name), least):
                raise _invalid(f"has {name} {getattr(self, name)!r}", f"It is a whole number, {least} or more.")
        if self.devices != "auto" and not _whole(self.devices, 1):
            raise _invalid(f"has devices {self.devices!r}", 'It is "auto", or a whole number, 1 or more.')
        if self.quantize and self.strategy == "fsdp2":
            raise _invalid('has quantize "4bit" and strategy "fsdp2"', 'Set strategy to "ddp", or quantize to null.')
        for logger in self.loggers:
            if not isinstance(logger, dict) or logger.get("name") not in _LOGGERS:
                raise _invalid(f"has the logger {logger!r}", f"A logger has a name of {', '.join(_LOGGERS)}.")


def _whole(value: Any, least: int) -> bool:
    return type(value) is int and value >= least


def _text(value: Any) -> str:
    return {None: "null", True: "true", False: "false"}.get(value, value)


def _invalid(problem: str, hint: str) -> WorkerError:
    return WorkerError("CONFIG_INVALID", f"The Lightning engine {problem}.", hint)
