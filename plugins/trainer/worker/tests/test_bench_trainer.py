"""The parts of ``deno task bench:trainer`` that only compute: shapes of batches, ratios, what is printed of them."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from hone_worker.packing import pack
from hone_worker.rows import read_batch, to_rows

FOLDER = pathlib.Path(__file__).parent / "bench_trainer"
sys.path.insert(0, str(FOLDER))

from figures import Comparison, Step, table, unequal  # noqa: E402
from workloads import WORKLOADS, Workload, sampled_by, tiny, write_batch  # noqa: E402

NAMED = {workload.name: workload for workload in WORKLOADS}


def steps(*seconds: float, loss: float = 0.5, norm: float = 2.0, peak: int = 1 << 20) -> list[Step]:
    return [Step(second, second * 2, loss, norm, peak) for second in seconds]


def compared(hone: list[Step], trl: list[Step], **more: object) -> Comparison:
    return Comparison("mcp-32", "trl 1.16.0, batch 8", 4352, 760, hone, trl, **more)


def test_a_row_has_the_ratios_of_medians_and_of_peaks_and_the_largest_differences():
    hone = steps(1.0, 9.0, 2.0, peak=1 << 20)
    trl = [*steps(6.0, peak=4 << 20), *steps(5.0, 100.0, loss=0.4999, norm=2.002, peak=2 << 20)]
    row = compared(hone, trl).row()
    assert list(row) == ["workload", "peer", "tokens_ratio", "memory_ratio", "loss_rel_diff", "grad_rel_diff"]
    assert (row["workload"], row["peer"]) == ("mcp-32", "trl 1.16.0, batch 8")
    assert (row["tokens_ratio"], row["memory_ratio"]) == (3.0, 0.25)
    assert row["loss_rel_diff"] == pytest.approx(2e-4)
    assert row["grad_rel_diff"] == pytest.approx(0.002 / 2.002)
    assert json.loads(json.dumps(row)) == row


def test_equality_is_judged_by_the_checked_steps_where_there_are_some():
    row = compared(steps(1.0, loss=1.0), steps(1.0, loss=2.0), checked=(steps(1.0), steps(1.0))).row()
    assert (row["loss_rel_diff"], row["grad_rel_diff"]) == (0.0, 0.0)


def test_sides_that_did_not_compute_the_same_are_named():
    equal, different = compared(steps(1.0), steps(1.0)), compared(steps(1.0), steps(1.0, loss=0.6))
    nothing = compared(steps(1.0, norm=float("nan")), steps(1.0))
    assert unequal([equal.row()]) == []
    assert unequal([equal.row(), different.row()]) == [
        "mcp-32 against trl 1.16.0, batch 8: loss differs by 1.7e-01, gradient norm by 0.0e+00; 0.001 at most is "
        "wanted, so the ratios mean nothing."
    ]
    assert len(unequal([nothing.row()])) == 1


def test_the_table_has_a_line_for_each_comparison():
    assert table([compared(steps(1.0), steps(2.0, peak=2 << 20))]).splitlines()[2] == (
        "| mcp-32 | trl 1.16.0, batch 8 | 4,352 (760) | 1.00 (1.00 to 1.00) / 2.00 (2.00 to 2.00) | 2.00 | 2.00 "
        "| 1 / 2 | 0.50 | 0e+00 / 0e+00 |"
    )


def batch_of(name: str, vocab: int = 500) -> list:
    return NAMED[name].batch(np.random.default_rng(0), vocab)


def test_a_group_shares_its_prompt_and_each_trajectory_samples_what_the_workload_says():
    rows = to_rows(batch_of("mcp-128-turns-4"))
    assert [len(row.ids) for row in rows] == [512 + 128 + 3 * 32] * 8
    assert [int(row.mask.sum()) for row in rows] == [128] * 8
    tree = pack(rows)
    assert tree.segments[0].stop == 512 and tree.logical == 8 * 736


def test_short_prompts_differ_in_length_and_share_nothing():
    rows = to_rows(batch_of("short"))
    prompts = [int(row.mask.argmax()) for row in rows]
    assert len(set(prompts)) > 4 and 64 <= min(prompts) and max(prompts) <= 256
    assert not any(segment.shared for segment in pack(rows).segments)


def test_forks_make_a_row_of_each_turn_and_train_every_sampled_id_once():
    rows = to_rows(batch_of("forks"))
    assert len(rows) == 8 * 4
    assert sum(int(row.mask.sum()) for row in rows) == 8 * 128


def test_a_batch_file_holds_the_batch_with_the_sampler_s_logprobs(tmp_path: pathlib.Path):
    trajectories = batch_of("forks")
    given = sampled_by(trajectories, [[-5.0] * 128] * 8, seed=3)
    write_batch(tmp_path / "batch.jsonl", given)
    assert read_batch(tmp_path / "batch.jsonl") == given
    gaps = np.array([turn.logprobs for t in given for turn in t.turns]).ravel() + 5
    assert 0.02 < np.abs(gaps).mean() < 0.08 and np.abs(gaps).max() > 0.3


def test_a_tiny_step_has_as_many_rows_as_asked_for():
    assert len(to_rows(tiny(32, np.random.default_rng(0), 500))) == 32


def test_workloads_have_names_of_their_own_and_whole_turns():
    assert len(NAMED) == len(WORKLOADS)
    assert all(isinstance(w, Workload) and w.sampled % w.turns == 0 for w in WORKLOADS)


def test_an_unknown_workload_is_refused_with_the_names_there_are():
    command = [sys.executable, str(FOLDER / "compare.py"), "--device", "cpu", "--workload", "mcp"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.strip() == (
        "No workload 'mcp' on cpu; there are: mcp-32; mcp-128; mcp-32-turns-4; mcp-128-turns-4; short; forks."
    )
