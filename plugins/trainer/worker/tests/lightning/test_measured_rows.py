"""On which rows of an update the KL to the base model is estimated."""

import numpy as np
import pytest

from hone_worker.config import LossConfig, OptimConfig
from hone_worker.engine import Objective
from hone_worker.lightning.module import Update


def update(rows, updates=0, moves=True, **loss):
    objective = Objective("rl", np.ones(1), LossConfig(**loss))
    return Update([None] * rows, objective, OptimConfig(), 1e-4, updates, moves, None, None)


@pytest.mark.parametrize("updates", [0, 1, 7])
def test_all_rows_of_a_small_step_are_measured(updates):
    assert update(5, updates).measured == [0, 1, 2, 3, 4]


def test_of_a_large_step_each_update_measures_the_next_run_of_neighbours():
    assert update(20, 0).measured == list(range(8))
    assert update(20, 1).measured == list(range(8, 16))
    assert update(20, 2).measured == [0, 1, 2, 3, 16, 17, 18, 19]


def test_nothing_is_measured_where_the_kl_is_0_or_known_of_every_token():
    assert update(20, moves=False).measured == []
    assert update(20, beta=0.1).measured == []
