"""Updates by Lightning's Trainer against the step that other engines share, and what they promise."""

import builders
import numpy as np
import pytest

from hone_worker.config import PRESETS, LossConfig
from hone_worker.errors import WorkerError
from hone_worker.optimizer import AdamW

# Rows of the batch go into several micro-batches.
SPLIT = {"micro_batch_tokens": 150}


class OnlyPasses:
    """The engine without its updates: a step then takes its gradients, and AdamW of NumPy."""

    def __init__(self, engine):
        self._engine = engine

    def __getattr__(self, name):
        if name in ("update", "new_optimizer"):
            raise AttributeError(name)
        return getattr(self._engine, name)


def both(folder, **optim):
    """Training as it is, and with nothing of Lightning but the passes."""
    lightning = builders.training(folder, options=SPLIT, **optim)
    plain = builders.training(folder, options=SPLIT, **optim)
    plain.engine = OnlyPasses(plain.engine)
    plain.state.optimizer = AdamW(plain.state.optimizer.config)
    return lightning, plain


def equal(left, right, tolerance):
    """Arrays by name, apart by no more than so much of the largest."""
    assert set(left) == set(right)
    for name, value in right.items():
        assert np.abs(left[name] - value).max() <= tolerance * np.abs(value).max(), name


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_updates_equal_the_shared_step_for_every_preset(qwen_folder, rng, preset):
    lightning, plain = both(qwen_folder, weight_decay=0.1, warmup_steps=2, grad_clip=0.3)
    batch = lightning.sampled(builders.trajectories(rng))
    beta = {} if preset == "ce" else {"beta": 0.1}
    config = LossConfig.from_json({"preset": preset, "constant": 20, **beta})
    for step in range(1, 4):
        reports = [training.train_step(step, batch, config) for training in (lightning, plain)]
    assert set(reports[0]) == set(reports[1])
    for name in set(reports[1]) - set(builders.MEASURED):
        assert np.isclose(reports[0][name], reports[1][name], rtol=2e-6, atol=1e-7), name
    equal(lightning.params, plain.params, 2e-6)
    equal(lightning.state.optimizer.first, plain.state.optimizer.first, 5e-6)
    equal(lightning.state.optimizer.second, plain.state.optimizer.second, 5e-6)


def test_supervised_updates_equal_the_shared_step(llama_folder, rng):
    batch = builders.trajectories(rng)
    lightning, plain = both(llama_folder)
    for step in range(1, 4):
        reports = [training.supervise(step, batch) for training in (lightning, plain)]
    assert np.isclose(reports[0]["loss"], reports[1]["loss"], rtol=1e-6)
    equal(lightning.params, plain.params, 2e-6)
