"""The optimiser of policy steps: new after the warm start, kept by a checkpoint, shared with supervised steps on request."""

import builders
import pytest
from worker_process import CACHE

from hone_worker import checkpoint
from hone_worker.config import LossConfig
from hone_worker.optimizer import AdamW


def warm(folder, rng, fresh=True):
    """Training after three supervised steps, with what they leave behind."""
    training = builders.training(folder, warmup_steps=4)
    training.state.fresh_optimizer = fresh
    batch = builders.trajectories(rng)
    for step in range(1, 4):
        training.supervise(step, batch, 1e-2)
    return training, training.sampled(batch)


def copy(folder, training, optimizer):
    """Training with the same adapter and another optimiser."""
    other = builders.training(folder)
    other.params, other.state.optimizer = dict(training.params), optimizer
    return other


def resumed(folder, place, fresh=True):
    training = builders.training(folder, noise=0.5, warmup_steps=4)
    training.state.fresh_optimizer = fresh
    checkpoint.resume(training.state, place)
    return training


def same(left, right):
    moments = [(t.state.optimizer.updates, t.state.optimizer.first, t.state.optimizer.second) for t in (left, right)]
    assert moments[0][0] == moments[1][0]
    for mine, theirs in [(left.params, right.params), *zip(moments[0][1:], moments[1][1:], strict=True)]:
        assert mine.keys() == theirs.keys()
        assert all(mine[name].tobytes() == theirs[name].tobytes() for name in mine)


def test_first_policy_step_begins_with_new_moments_and_a_new_warmup(llama_folder, rng):
    training, batch = warm(llama_folder, rng)
    assert training.state.optimizer.updates == 3
    alone = copy(llama_folder, training, AdamW(training.state.optimizer.config))
    reports = [t.train_step(1, batch, LossConfig()) for t in (training, alone)]
    assert [report["learning_rate"] for report in reports] == [0.25e-3, 0.25e-3]
    same(training, alone)
    # The next steps continue with these moments, and so does one after a step that taught nothing.
    training.train_step(2, batch, LossConfig())
    training.train_step(3, [], LossConfig())
    assert training.train_step(4, batch, LossConfig())["learning_rate"] == 0.75e-3


def test_the_optimiser_of_policy_steps_survives_save_and_resume(llama_folder, rng, tmp_path):
    training, batch = warm(llama_folder, rng)
    checkpoint.save(training.state, tmp_path / "warm")
    for number in (1, 2, 3):
        again = resumed(llama_folder, tmp_path / ("warm" if number == 1 else f"step-{number - 1}"))
        for one in (training, again):
            one.train_step(number, batch, LossConfig())
        assert training.state.optimizer.updates == number
        same(training, again)
        checkpoint.save(training.state, tmp_path / f"step-{number}")


def test_policy_steps_continue_with_the_supervised_moments_when_told(llama_folder, rng, tmp_path):
    training, batch = warm(llama_folder, rng, fresh=False)
    left = training.state.optimizer
    alone = copy(llama_folder, training, AdamW(left.config, left.updates, dict(left.first), dict(left.second)))
    alone.state.fresh_optimizer = False
    checkpoint.save(training.state, tmp_path / "warm")
    again = resumed(llama_folder, tmp_path / "warm", fresh=False)
    reports = [t.train_step(1, batch, LossConfig()) for t in (training, alone, again)]
    assert [report["learning_rate"] for report in reports] == [1e-3] * 3
    assert training.state.optimizer.updates == 4
    same(training, alone)
    same(training, again)


def test_a_checkpoint_of_an_earlier_version_keeps_the_moments_that_its_policy_steps_had(llama_folder, rng, tmp_path):
    # Then, one optimiser served both kinds of steps; the files are the same.
    before, batch = warm(llama_folder, rng, fresh=False)
    before.train_step(1, batch, LossConfig())
    checkpoint.save(before.state, tmp_path / "step-1")
    now = resumed(llama_folder, tmp_path / "step-1")
    for one in (before, now):
        one.train_step(2, batch, LossConfig())
    assert now.state.optimizer.updates == 5
    same(before, now)


@pytest.mark.parametrize(("asked", "rate"), [({}, 0.25e-3), ({"fresh_optimizer": False}, 0.5e-3)])
def test_init_says_whether_policy_steps_get_a_new_optimiser(start, llama_folder, tmp_path, asked, rate):
    from test_train_program import GOLDEN, LORA, step

    worker = start()
    optimizer = {"learning_rate": 1e-3, "warmup_steps": 4}
    worker.call("init", model=str(llama_folder), cache_dir=CACHE, lora=LORA, optimizer=optimizer, **asked)
    worker.call("supervise", step=1, batch=str(GOLDEN))
    batch = worker.sampled(GOLDEN, tmp_path / "batch.jsonl")
    assert worker.call("train_step", step=1, batch=str(batch))["learning_rate"] == rate
    # The program's first policy step takes the same two ways.
    model = ("--model", llama_folder)
    step(*model, "--kind", "supervised", "--out", tmp_path / "warm")
    keep = ["--keep-optimizer"] if asked else []
    step(*model, "--adapter", tmp_path / "warm", *keep, "--out", tmp_path / "rl", batch=batch)
    assert f'"updates": {2 if asked else 1}' in (tmp_path / "rl" / "state.json").read_text()
