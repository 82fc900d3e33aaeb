"""What a run may set: adapter, optimiser and loss, as frozen values.

Every class is made from the JSON of the protocol by ``from_json``, which names an unknown
or impossible value in a :class:`WorkerError` ``CONFIG_INVALID``. No array library here.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, TypeVar

from hone_worker.errors import WorkerError

T = TypeVar("T")


def _make(cls: type[T], values: dict[str, Any] | None, what: str) -> T:
    known = {field.name for field in fields(cls)}  # type: ignore[arg-type]
    given = {key: value for key, value in (values or {}).items() if value is not None}
    unknown = sorted(set(given) - known)
    if unknown:
        raise _invalid(what, f"has no option {unknown[0]!r}", f"Options: {', '.join(sorted(known))}.")
    return cls(**given)


def _invalid(what: str, problem: str, hint: str) -> WorkerError:
    return WorkerError("CONFIG_INVALID", f"The {what} {problem}.", hint)


def _require(holds: bool, what: str, problem: str, hint: str) -> None:
    if not holds:
        raise _invalid(what, problem, hint)


@dataclass(frozen=True)
class LoraConfig:
    """rank r, alpha (the update is scaled by alpha / r), how many of the last layers carry an
    adapter (0: all), which linear maps by the last part of their name, and the share of the
    adapter's inputs that an update drops (engines that are no ``Learner`` have none)."""

    rank: int = 8
    alpha: float = 16.0
    last_layers: int = 0
    target_modules: str | tuple[str, ...] = "all-linear"
    dropout: float = 0.0

    @property
    def scale(self) -> float:
        """The factor of the low-rank update."""
        return self.alpha / self.rank

    @classmethod
    def from_json(cls, values: dict[str, Any] | None) -> LoraConfig:
        """Reads the ``lora`` object of ``init``."""
        config = _make(cls, values, "lora configuration")
        if isinstance(config.target_modules, list):
            values = {**(values or {}), "target_modules": tuple(config.target_modules)}
            config = _make(cls, values, "lora configuration")
        what = "lora configuration"
        _require(config.rank >= 1, what, f"has rank {config.rank}", "The rank is 1 or more.")
        _require(0 <= config.dropout < 1, what, f"has dropout {config.dropout}", "It is at least 0 and below 1.")
        _require(config.last_layers >= 0, what, f"has last_layers {config.last_layers}", "0 means all layers.")
        _require(
            config.target_modules == "all-linear" or isinstance(config.target_modules, tuple),
            what,
            f"has target_modules {config.target_modules!r}",
            'Give "all-linear" or a list of names such as "q_proj".',
        )
        return config


@dataclass(frozen=True)
class OptimConfig:
    """AdamW with bias correction: rate, linear warm-up in steps, decoupled weight decay, moments,
    and the global norm to which gradients are clipped (0: not clipped)."""

    learning_rate: float = 2e-4
    warmup_steps: int = 0
    weight_decay: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    grad_clip: float = 1.0

    @classmethod
    def from_json(cls, values: dict[str, Any] | None) -> OptimConfig:
        """Reads the ``optimizer`` object of ``init``."""
        config = _make(cls, values, "optimizer configuration")
        what = "optimizer configuration"
        for name in ("learning_rate", "eps"):
            value = getattr(config, name)
            _require(value > 0, what, f"has {name} {value}", "It is greater than 0.")
        for name in ("beta1", "beta2"):
            value = getattr(config, name)
            _require(0 <= value < 1, what, f"has {name} {value}", "It is at least 0 and below 1.")
        for name in ("warmup_steps", "weight_decay", "grad_clip"):
            value = getattr(config, name)
            _require(value >= 0, what, f"has {name} {value}", "It is 0 or more.")
        return config


@dataclass(frozen=True)
class LossConfig:
    """The policy loss as four independent options, and two penalties.

    ratio: per ``token``, or per ``sequence`` (mean of the token log-ratios).
    clip: ``ppo`` takes the worse of r·A and clip(r, 1−eps_low, 1+eps_high)·A; ``cispo`` weighs
    logp by the detached min(r, cap); ``dppo`` is r·A, but 0 at tokens whose probability has already moved in
    the direction of A, up by more than eps_high or down by more than eps_low; ``none`` is r·A; ``ce`` is
    −logp, whatever the advantage.
    normaliser: sum over all trained ``tokens`` of the step; mean of per-row means
    (``sequences``); or a ``constant``.
    tis, tis_cap: what corrects for a sampler that differs from the trainer (tis_cap 0: nothing does). ``token``
    caps the detached importance weight at tis_cap, where the clip has no cap of its own (all but ``cispo``);
    ``sequence_mask`` drops whole trajectories whose mean ratio exceeds tis_cap; they count in the normaliser.
    tau: weight of the squared log-ratio to the sampler's policy, at tokens with an advantage.
    beta: weight of the k3 estimate of KL(policy || base).
    """

    ratio: str = "token"
    clip: str = "cispo"
    eps_low: float = 0.2
    eps_high: float = 0.28
    cap: float = 5.0
    normaliser: str = "tokens"
    constant: float = 1.0
    tis: str = "token"
    tis_cap: float = 0.0
    tau: float = 0.0
    beta: float = 0.0

    @property
    def by_trajectory(self) -> bool:
        """Whether a token's slope depends on the logp of its trajectory's other tokens."""
        return self.ratio == "sequence" or (self.tis == "sequence_mask" and self.tis_cap > 0)

    @property
    def needs_advantage(self) -> bool:
        """Whether a trajectory of advantage 0 has no gradient."""
        return self.beta == 0 and self.clip != "ce"

    @classmethod
    def from_json(cls, values: dict[str, Any] | None) -> LossConfig:
        """Reads the ``loss`` object of ``train_step``: a preset, then the options that override it.

        The WorkerError names everything that is wrong with it.
        """
        given = {key: value for key, value in (values or {}).items() if value is not None}
        name = given.pop("preset", None)
        if name is not None and name not in PRESETS:
            raise _invalid("loss", f"has no preset {name!r}", f"Presets: {', '.join(sorted(PRESETS))}.")
        config = _make(cls, {**PRESETS.get(name, {}), **given}, "loss")
        wrong = [
            *((f"{key} {getattr(config, key)!r}", f"{key} is one of {', '.join(allowed)}")
              for key, allowed in _CHOICES.items() if getattr(config, key) not in allowed),
            *((f"{key} {getattr(config, key)}", f"{key} is 0 or more")
              for key in ("eps_low", "eps_high", "tis_cap", "tau", "beta") if not getattr(config, key) >= 0),
            *((f"{key} {getattr(config, key)}", f"{key} is greater than 0")
              for key in ("cap", "constant") if not getattr(config, key) > 0),
        ]
        if "tis" in given and config.tis_cap == 0:
            wrong.append((f"tis {config.tis!r} without tis_cap", "tis_cap is the ratio from which tis corrects"))
        if config.clip == "ce" and (vain := [key for key in _OF_A_RATIO if key in given]):
            wrong.append((f"clip 'ce' with {', '.join(vain)}", "ce has no ratio, no sampler and no base"))
        problems, hints = zip(*wrong, strict=True) if wrong else ((), ())
        _require(not wrong, "loss", f"has {'; '.join(problems)}", f"{'; '.join(dict.fromkeys(hints))}.")
        return config


_CHOICES = {
    "ratio": ("token", "sequence"),
    "clip": ("cispo", "ppo", "dppo", "none", "ce"),
    "normaliser": ("tokens", "sequences", "constant"),
    "tis": ("token", "sequence_mask"),
}

# Options that mean nothing to cross entropy.
_OF_A_RATIO = ("ratio", "eps_low", "eps_high", "cap", "tis", "tis_cap", "tau", "beta")

PRESETS: dict[str, dict[str, Any]] = {
    "cispo": {"clip": "cispo", "cap": 5.0, "normaliser": "tokens"},
    "dapo": {"clip": "ppo", "eps_low": 0.2, "eps_high": 0.28, "normaliser": "tokens"},
    "grpo": {"clip": "ppo", "eps_low": 0.2, "eps_high": 0.2, "normaliser": "sequences"},
    "dr_grpo": {"clip": "ppo", "eps_low": 0.2, "eps_high": 0.2, "normaliser": "constant"},
    "gspo": {
        "ratio": "sequence",
        "clip": "ppo",
        "eps_low": 3e-4,
        "eps_high": 4e-4,
        "normaliser": "sequences",
    },
    "dppo": {"clip": "dppo", "eps_low": 0.2, "eps_high": 0.2, "tau": 1e-3, "normaliser": "tokens"},
    "reinforce": {"clip": "none", "normaliser": "tokens"},
    "ce": {"clip": "ce", "normaliser": "tokens"},
}
