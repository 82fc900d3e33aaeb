"""The loss against golden/loss.v1.json, in any array namespace."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from hone_worker import loss
from hone_worker.config import LossConfig
from hone_worker.packing import Entries

GOLDEN = json.loads((pathlib.Path(__file__).parent / "golden" / "loss.v1.json").read_text())
SEQUENCE = np.array(GOLDEN["sequence"])
CASES = GOLDEN["cases"]


def name_of(case: dict[str, Any]) -> str:
    options = "-".join(str(value) for value in case["loss"].values())
    return f"{case['source']}-{options}-{case['behaviour']}"


def entries(behaviour: np.ndarray) -> Entries:
    """The golden trajectories, with what their sampler said."""
    plain = np.zeros(len(SEQUENCE), np.int64)
    advantage = np.array(GOLDEN["advantage"], np.float32)[SEQUENCE]
    return Entries(
        state=plain, target=plain, behaviour=behaviour.astype(np.float32), advantage=advantage,
        weight=np.ones(len(SEQUENCE), np.float32), row=SEQUENCE, sequence=SEQUENCE, policy_version=plain,
    )


def compute(case: dict[str, Any], xp: Any = np, array: Callable[[np.ndarray], Any] = np.asarray) -> loss.TokenLoss:
    """The loss of a case in ``xp``, whose arrays ``array`` makes; the result is NumPy's."""
    config = LossConfig.from_json(case["loss"])
    found = entries(np.array(GOLDEN[case["behaviour"]]))
    factor = loss.factors(np.ones(len(GOLDEN["advantage"])), np.bincount(SEQUENCE), config)[SEQUENCE]
    moved = Entries(*(array(getattr(found, name)) for name in Entries.__dataclass_fields__))
    logp, reference = (array(np.array(GOLDEN[name])) for name in ("logp", "reference"))
    made = loss.policy(logp, moved, array(factor), config, reference, xp)
    return loss.TokenLoss(*(np.asarray(value.tolist()) for value in (made.value, made.slope, made.clipped)))


def check(case: dict[str, Any], found: loss.TokenLoss) -> None:
    """Asserts value and slope."""
    np.testing.assert_allclose(found.value.sum(), case["value"], rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(found.slope, case["slope"], rtol=1e-11, atol=1e-14)
