"""Updates teach what is rewarded, and nothing where the reward says nothing."""

import builders
import numpy as np
import pytest
from conftest import write_model

from hone_worker.config import LossConfig
from hone_worker.rows import Trajectory, TurnRecord

GOOD = 7
PROMPT = [11, 12, 13, 14]
GROUP = 16


@pytest.fixture(scope="module")
def wide_folder(tmp_path_factory):
    """Wide enough that its head can be sure: behind the last norm, logits are bounded by the width."""
    return write_model(tmp_path_factory.mktemp("wide") / "qwen3", "qwen3", hidden_size=128)


def chances(training, prompt):
    """Of every token, after ``prompt``."""
    turns = [TurnRecord(prompt, [token], None) for token in range(builders.VOCAB)]
    rows = training.logprobs([Trajectory(f"{i}", "g", 0, 1.0, 1.0, [turn]) for i, turn in enumerate(turns)])["rows"]
    return np.exp([row["logprobs"][0] for row in rows])


def bandit(folder, steps, reward, sign=1.0, warm=1):
    """``warm`` supervised steps towards GOOD, then on-policy steps on one token after PROMPT; answers the chance of GOOD before and after."""
    training = builders.training(folder, noise=0.0, learning_rate=1e-2)
    draw, config = np.random.default_rng(1), LossConfig.from_json({"preset": "dapo"})
    for step in range(1, warm + 1):
        training.supervise(step, [Trajectory("s", "g", 0, 1.0, 1.0, [TurnRecord(PROMPT, [GOOD], None)])])
    before = chances(training, PROMPT)[GOOD]
    for step in range(1, steps + 1):
        likely = chances(training, PROMPT)
        drawn = draw.choice(builders.VOCAB, GROUP, p=likely / likely.sum())
        rewards = np.array([reward(token, draw) for token in drawn], float)
        batch = [
            Trajectory(f"r{i}", "g", 0, sign * float(rewards[i] - rewards.mean()), 1.0,
                       [TurnRecord(PROMPT, [int(token)], [float(np.log(likely[token]))])])
            for i, token in enumerate(drawn)
        ]
        training.train_step(step, batch, config)
    return before, chances(training, PROMPT)[GOOD]


def test_a_rewarded_token_becomes_certain(wide_folder):
    before, after = bandit(wide_folder, 99, lambda token, _: token == GOOD)
    assert before < 0.5 and after > 0.95


def test_a_punished_token_becomes_rare(wide_folder):
    before, after = bandit(wide_folder, 20, lambda token, _: token == GOOD, sign=-1.0, warm=3)
    assert before > 0.05 and after < 0.2 * before


def test_rewards_that_have_nothing_to_do_with_the_token_teach_nothing(wide_folder):
    _, after = bandit(wide_folder, 99, lambda _, draw: draw.random() < 0.5)
    assert after < 0.5


@pytest.mark.parametrize("tied", [False, True])
def test_the_turn_that_decides_is_learnt(wide_folder, tied):
    """Two turns, the second's token decides; with ``tied`` every rollout of a group gets the same reward."""
    training = builders.training(wide_folder, noise=0.0, learning_rate=1e-2)
    draw, config = np.random.default_rng(2), LossConfig.from_json({"preset": "grpo"})
    second = [*PROMPT, 20, 21, 22]
    training.supervise(1, [Trajectory("s", "g", 0, 1.0, 1.0, [TurnRecord(second, [GOOD], None)])])
    before = chances(training, second)[GOOD]
    for step in range(1, 81):
        first, then = chances(training, PROMPT), chances(training, second)
        turns = []
        for _ in range(GROUP):
            # The first turn's answer varies; the history that the second one sees was rewritten (a fork).
            a, b = (int(draw.choice(builders.VOCAB, p=p / p.sum())) for p in (first, then))
            turns.append([TurnRecord(PROMPT, [a], [float(np.log(first[a]))]),
                          TurnRecord(second, [b], [float(np.log(then[b]))])])
        rewards = np.array([1.0 if tied else float(two.output_ids[0] == GOOD) for _, two in turns])
        batch = [Trajectory(f"r{i}", "g", 0, float(r - rewards.mean()), 1.0, two)
                 for i, (r, two) in enumerate(zip(rewards, turns, strict=True))]
        training.train_step(step, batch, config)
    after = chances(training, second)[GOOD]
    assert after == pytest.approx(before) if tied else after > 0.9
