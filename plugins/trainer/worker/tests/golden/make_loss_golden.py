"""Makes loss.v1.json: what every engine's loss has to give. Run by hand, with TRL in an environment of its own:

    uv run --no-project --python 3.11 --with trl==1.16.0 --with torch==2.15.0 python tests/golden/make_loss_golden.py

The cases marked ``TRL`` are value and gradient of ``GRPOTrainer._compute_loss`` itself, in float64, whose model is
replaced by fixed log-probabilities; tokens that are not trained (tool results, padding) have other ones. The others
are closed forms, written out here token by token and checked by central differences. TRL's KL is without
``use_bias_correction_kl``, as hone's is.
"""

from __future__ import annotations

import json
import math
import pathlib
from collections import defaultdict
from types import SimpleNamespace

import numpy as np
import torch
import trl
from trl import GRPOTrainer

HERE = pathlib.Path(__file__).parent
# Which of a trajectory's tokens are trained: tool results lie between, padding behind.
MASK = np.array([[1, 1, 0, 0, 1, 0, 0, 0], [1, 1, 1, 0, 0, 0, 1, 1], [1, 1, 0, 0, 0, 0, 0, 0], [1, 0, 1, 0, 1, 1, 0, 0]])
ADVANTAGE = [1.0, -0.5, 0.75, -1.25]
BETA = 0.2


def arrays() -> dict[str, np.ndarray]:
    """Log-probabilities of the policy, the base and the sampler (nearly the same; far apart; the same)."""
    rng = np.random.default_rng(7)
    logp = np.minimum(-1.5 + 0.8 * rng.standard_normal(MASK.shape), -0.05).astype(np.float32)
    made = {"logp": logp, "same": logp}
    for name, spread in (("near", 3e-3), ("far", 0.5), ("reference", 0.3)):
        made[name] = np.minimum(logp + spread * rng.standard_normal(MASK.shape), -0.01).astype(np.float32)
    return {name: value.astype(np.float64) for name, value in made.items()}


def of_trl(given: dict[str, np.ndarray], behaviour: str, beta: float = 0.0, tis_cap: float = 0.0, **options: object):
    """(loss, its gradient by the trained tokens' logp) by TRL's own code."""
    logp = torch.tensor(given["logp"], requires_grad=True)
    sampled = torch.tensor(given[behaviour])
    shape = {"epsilon_low": 0.2, "epsilon_high": 0.2, "importance_sampling_level": "token", **options}
    trainer = SimpleNamespace(
        **shape,
        beta=beta,
        use_vllm=tis_cap > 0,
        vllm_importance_sampling_correction=tis_cap > 0,
        args=SimpleNamespace(delta=None, steps_per_generation=1, use_bias_correction_kl=False),
        aux_loss_enabled=False,
        top_entropy_quantile=1.0,
        off_policy_mask_threshold=None,
        max_completion_length=MASK.shape[1],
        current_gradient_accumulation_steps=1,
        model=SimpleNamespace(training=True),
        accelerator=SimpleNamespace(num_processes=1, gather=lambda x: x, reduce=lambda x, reduction: x),
        _entropy_bonus_enabled=False,
        _metrics=defaultdict(lambda: defaultdict(list)),
        _get_per_token_logps_and_entropies=lambda *_, **__: (logp, torch.zeros_like(logp), None),
    )
    inputs = {
        "prompt_ids": torch.zeros(len(MASK), 1, dtype=torch.long),
        "prompt_mask": torch.ones(len(MASK), 1, dtype=torch.long),
        "completion_ids": torch.zeros(MASK.shape, dtype=torch.long),
        "completion_mask": torch.ones(MASK.shape, dtype=torch.long),
        "tool_mask": torch.tensor(MASK),
        "advantages": torch.tensor(ADVANTAGE, dtype=torch.float64),
        "old_per_token_logps": sampled,
        "ref_per_token_logps": torch.tensor(given["reference"]),
        "num_items_in_batch": torch.tensor(float(MASK.sum())),
    }
    if tis_cap:
        # As with vLLM at the first update on a batch: the old policy is the trained one, and the sampler is another.
        inputs["old_per_token_logps"] = logp.detach()
        inputs["importance_sampling_ratio"] = torch.clamp(torch.exp(logp.detach() - sampled), max=tis_cap)
    value = GRPOTrainer._compute_loss(trainer, trainer.model, inputs)
    value.backward()
    return value.item(), logp.grad.numpy()[MASK == 1].tolist()


def dppo(logp: list[float], sampled: list[float], advantage: list[float]) -> tuple[float, list[float]]:
    """prime-rl's default loss over all trained tokens: low and high mask 0.2, kl_tau 1e-3."""
    total, slopes = 0.0, []
    for new, old, a in zip(logp, sampled, advantage, strict=True):
        moved, d = math.exp(new) - math.exp(old), new - old
        kept = 0.0 if (moved > 0.2 if a > 0 else moved < -0.2) else 1.0
        total += -kept * a * math.exp(d) + 1e-3 * d * d
        slopes.append((-kept * a * math.exp(d) + 2e-3 * d) / len(logp))
    return total / len(logp), slopes


def checked(function, logp: list[float], *rest):  # noqa: ANN001, ANN201
    """(value, slopes) of ``function`` at logp, whose slopes are the central differences of its value."""
    value, slopes = function(logp, *rest)
    for i, slope in enumerate(slopes):
        around = [function([x + step * (i == j) for j, x in enumerate(logp)], *rest)[0] for step in (1e-6, -1e-6)]
        assert math.isclose(slope, (around[0] - around[1]) / 2e-6, rel_tol=1e-5, abs_tol=1e-8), (i, slope)
    return value, slopes


def main() -> None:
    given = arrays()
    trained = {name: value[MASK == 1].tolist() for name, value in given.items()}
    sequence = np.nonzero(MASK)[0].tolist()
    advantage = [ADVANTAGE[s] for s in sequence]
    lengths, count = MASK.sum(1), int(MASK.sum())
    cases = []

    def add(source: str, behaviour: str, options: dict, found: tuple[float, list[float]]) -> None:
        made = {"source": source, "loss": options, "behaviour": behaviour, "value": found[0], "slope": found[1]}
        cases.append(made)

    constant = float(MASK.size)
    wide = {"dapo": {"epsilon_high": 0.28}, "grpo": {}, "dr_grpo": {}, "cispo": {"epsilon_high": 5.0}}
    for beta in (0.0, BETA):
        more = {"beta": beta} if beta else {}
        for name, options in wide.items():
            own = {"preset": name, **({"constant": constant} if name == "dr_grpo" else {}), **more}
            add("TRL", "far", own, of_trl(given, "far", beta, loss_type=name, **options))
        narrow = {"loss_type": "grpo", "importance_sampling_level": "sequence"}
        found = of_trl(given, "near", beta, epsilon_low=3e-4, epsilon_high=4e-4, **narrow)
        add("TRL", "near", {"preset": "gspo", **more}, found)
    capped = {"preset": "cispo", "cap": 1.25}
    add("TRL", "far", capped, of_trl(given, "far", loss_type="cispo", epsilon_high=1.25))
    truncated = {"preset": "reinforce", "tis": "token", "tis_cap": 1.25}
    add("TRL", "far", truncated, of_trl(given, "far", tis_cap=1.25, loss_type="dapo"))

    add("closed form", "far", {"preset": "dppo"}, checked(dppo, trained["logp"], trained["far"], advantage))
    mean = [-a / count for a in advantage]
    even = [-a / (len(ADVANTAGE) * lengths[s]) for a, s in zip(advantage, sequence, strict=True)]
    weighted = sum(mean)
    by_logp = sum(m * x for m, x in zip(mean, trained["logp"], strict=True))
    for name in ("dapo", "reinforce", "dppo"):
        add("closed form", "same", {"preset": name}, (weighted, mean))
    for name in ("grpo", "gspo"):
        add("closed form", "same", {"preset": name}, (-sum(ADVANTAGE) / len(ADVANTAGE), even))
    fixed = [-a / constant for a in advantage]
    add("closed form", "same", {"preset": "dr_grpo", "constant": constant}, (sum(fixed), fixed))
    add("closed form", "same", {"preset": "cispo"}, (by_logp, mean))
    add("closed form", "far", {"preset": "ce"}, (-sum(trained["logp"]) / count, [-1 / count] * count))

    golden = {
        "schema": "loss.v1",
        "made_by": f"make_loss_golden.py with TRL {trl.__version__}, torch {torch.__version__.split('+')[0]}",
        "sequence": sequence,
        "advantage": ADVANTAGE,
        **trained,
        "cases": cases,
    }
    text = json.dumps(golden, indent=1)
    (HERE / "loss.v1.json").write_text(text + "\n")
    print(f"{len(cases)} cases")


if __name__ == "__main__":
    main()
