"""On which rows of an update the KL to the base model is estimated."""

import numpy as np
import pytest

from hone_worker.config import LossConfig, OptimConfig
from hone_worker.engine import Objective
from hone_worker.lightning.module import Update


def update(rows, updates=0, moves=True, **loss):
    objective = Objective("rl", np.ones(1), LossConfig(**loss))
    return Update([None] * rows, objective, OptimConfig(), 1e-4, updates, moves, None, None)


@pytest.mark.parametrize(("rows", "updates", "measured"), [(1, 5, [0]), (5, 7, [2]), (8, 3, [3]), (15, 14, [14])])
def test_of_a_small_step_each_update_measures_the_next_row(rows, updates, measured):
    assert update(rows, updates).measured == measured


def test_of_a_larger_step_each_update_measures_an_eighth_of_its_rows_neighbours_that_share_prompts():
    assert update(20, 0).measured == [0, 1]
    assert update(20, 1).measured == [2, 3]
    assert update(20, 10).measured == [0, 1]


def test_no_update_measures_more_than_eight_rows():
    assert update(84, 0).measured == list(range(8))
    assert update(84, 10).measured == [0, 1, 2, 3, 80, 81, 82, 83]


def test_nothing_is_measured_where_the_kl_is_0_or_known_of_every_token():
    assert update(20, moves=False).measured == []
    assert update(20, beta=0.1).measured == []
