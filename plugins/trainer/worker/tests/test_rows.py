"""Turns to rows: every sampled token trained exactly once, after the ids it was sampled from."""

import pathlib

import numpy as np
import pytest

from hone_worker.errors import WorkerError
from hone_worker.packing import balance, pack
from hone_worker.rows import Trajectory, TurnRecord, read_batch, reconcile, to_rows

GOLDEN = pathlib.Path(__file__).parent / "golden" / "batch.v1.jsonl"


def make(*turns, **changes):
    values = {"rollout_id": "r", "group_id": "g", "policy_version": 0, "advantage": 1.0, "weight": 1.0}
    return Trajectory(**{**values, **changes}, turns=[TurnRecord(*turn) for turn in turns])


def test_read_batch_reads_the_golden_file():
    first, second, demonstration = read_batch(GOLDEN)
    assert first.turns[1].prompt_ids == [1, 10, 11, 2, 20, 21, 2, 1, 30, 2]
    assert second.turns[1].prompt_ids == [1, 10, 11, 2, 23, 24, 26, 1, 31, 2]
    assert second.turns[0].finish_reason == "length" and second.advantage == -0.5
    assert demonstration.turns[0].logprobs is None and demonstration.weight == 0.5
    rows = to_rows([first, second, demonstration])
    assert [row.origin for row in rows] == ["CLEAN", "CLEAN", "REALIGN", "CLEAN"]
    assert [row.sequence for row in rows] == [0, 1, 1, 2]
    assert rows[0].mask.tolist() == [False] * 4 + [True] * 3 + [False] * 3 + [True] * 2
    assert rows[0].logprobs[rows[0].mask].tolist() == [-9.9375, -8.375, -15.8125, -17.0, -9.3125]
    assert np.isnan(rows[3].logprobs).all()


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "Expecting property name"),
        ('{"schema":"batch.v2"}', "schema is 'batch.v2'"),
        ('{"schema":"batch.v1"}', "'turns' is missing"),
        ('{"schema":"batch.v1","turns":[{"prefix_len":1}]}', "keeps 1 of 0"),
        ('{"schema":"batch.v1","turns":[{"prefix_len":0,"prompt_suffix_ids":[],"output_ids":[],"logprobs":null}]}', "empty prompt"),
        ('{"schema":"batch.v1","turns":[{"prefix_len":0,"prompt_suffix_ids":[-1],"output_ids":[],"logprobs":null}]}', "from 0 up"),
        ('{"schema":"batch.v1","turns":[{"prefix_len":0,"prompt_suffix_ids":[1],"output_ids":[1],"logprobs":[]}]}', "0 logprobs for 1 ids"),
    ],
)
def test_read_batch_names_what_is_wrong(tmp_path, line, problem):
    path = tmp_path / "b.jsonl"
    path.write_text("\n" + line + "\n")
    with pytest.raises(WorkerError, match="Line 2") as caught:
        read_batch(path)
    assert problem in caught.value.message and caught.value.code == "BATCH_INVALID"


def test_read_batch_refuses_a_missing_file(tmp_path):
    with pytest.raises(WorkerError, match="Cannot read"):
        read_batch(tmp_path / "none.jsonl")


def test_reconcile_chains_turns_that_extend_each_other():
    (row,) = reconcile(make(([1, 2], [3, 4], [-1, -2]), ([1, 2, 3, 4, 5], [6], [-3])))
    assert row.ids.tolist() == [1, 2, 3, 4, 5, 6]
    assert row.mask.tolist() == [False, False, True, True, False, True]
    assert row.logprobs[row.mask].tolist() == [-1, -2, -3]


def test_reconcile_realigns_a_drifted_tail_and_keeps_the_sampled_one():
    rows = reconcile(make(([1, 2], [3, 4], [-1, -2]), ([1, 2, 3, 9, 5], [6], [-3])))
    assert [row.origin for row in rows] == ["CLEAN", "REALIGN"]
    assert rows[0].ids.tolist() == [1, 2, 3, 4] and rows[0].mask.sum() == 2
    assert rows[1].ids.tolist() == [1, 2, 3, 9, 5, 6]
    assert rows[1].mask.tolist() == [False] * 5 + [True]


def test_reconcile_forks_on_rewritten_history_and_on_a_long_drift():
    rewritten = reconcile(make(([1, 2], [3], None), ([1, 7], [6], None)))
    assert [row.origin for row in rewritten] == ["CLEAN", "FORK"]
    long = reconcile(make(([1], [3] * 8, None), ([1, 3, 9], [6], None)), realign_limit=4)
    assert [row.origin for row in long] == ["CLEAN", "FORK"]


def test_reconcile_returns_to_an_earlier_branch():
    rows = reconcile(make(([1], [2], None), ([8], [9], None), ([1, 2, 5], [6], None), ([8, 9, 4], [7], None)))
    assert [row.ids.tolist() for row in rows] == [[1, 2, 5, 6], [8, 9, 4, 7]]
    assert rows[0].source == [(0, 0), (2, 0)]


def test_reconcile_accepts_empty_answers():
    (row,) = reconcile(make(([1], [], None), ([1, 5], [6], None)))
    assert row.mask.tolist() == [False, False, True]
    assert reconcile(make(([1], [], None))) == []


def random_trajectory(rng):
    turns, history = [], rng.integers(0, 5, 4).tolist()
    for _ in range(int(rng.integers(1, 6))):
        output = rng.integers(0, 5, int(rng.integers(0, 6))).tolist()
        turns.append((list(history), output, [-float(len(turns)) - i / 16 for i in range(len(output))]))
        history = history + output
        kind = rng.integers(0, 4)
        if kind == 0:
            history = history[: int(rng.integers(1, len(history) + 1))]
        elif kind == 1:
            history[int(rng.integers(0, len(history)))] = 9
        history = history + rng.integers(0, 5, int(rng.integers(0, 4))).tolist()
    return make(*turns)


@pytest.mark.parametrize("seed", range(200))
def test_every_sampled_token_is_trained_exactly_once_after_its_own_prompt(seed):
    trajectory = random_trajectory(np.random.default_rng(seed))
    seen = {}
    for row in reconcile(trajectory):
        for place, at in zip(row.source, np.flatnonzero(row.mask).tolist(), strict=True):
            turn, offset = place
            record = trajectory.turns[turn]
            assert place not in seen
            seen[place] = True
            assert row.ids[: at + 1].tolist() == record.prompt_ids + record.output_ids[: offset + 1]
            assert row.logprobs[at] == np.float32(record.logprobs[offset])
    expected = {(i, o) for i, turn in enumerate(trajectory.turns) for o in range(len(turn.output_ids))}
    assert set(seen) == expected


@pytest.mark.parametrize("seed", range(50))
@pytest.mark.parametrize("min_shared", [1, 3, 16])
def test_pack_reads_back_as_the_rows(seed, min_shared):
    rng = np.random.default_rng(seed)
    rows = to_rows([random_trajectory(rng) for _ in range(6)])
    tree = pack(rows, min_shared)
    assert len(tree.ids) <= tree.logical == sum(len(row.ids) for row in rows)
    texts = {}
    for index, segment in enumerate(tree.segments):
        above = texts[segment.parent] if segment.parent >= 0 else []
        assert segment.depth == len(above)
        texts[index] = above + tree.ids[segment.start : segment.stop].tolist()
    segment_of = np.concatenate([np.full(s.stop - s.start, i) for i, s in enumerate(tree.segments)])
    entries = tree.entries
    for index, row in enumerate(rows):
        mine = np.flatnonzero(entries.row == index)
        for entry, at in zip(mine, np.flatnonzero(row.mask), strict=True):
            segment = tree.segments[segment_of[entries.state[entry]]]
            text = texts[segment_of[entries.state[entry]]]
            assert text[: segment.depth + entries.state[entry] - segment.start + 1] == row.ids[:at].tolist()
            assert entries.target[entry] == row.ids[at]


def test_pack_shares_a_common_prefix_once():
    rows = to_rows([make((list(range(40)), [50 + i, 0], None)) for i in range(8)])
    assert len(pack(rows).ids) == 48
    assert len(pack(rows, 100).ids) == 8 * 41


def test_balance_spreads_sizes_evenly_and_keeps_every_item():
    bins = balance([7, 1, 5, 3, 3, 1], 2)
    assert sorted(sum(bins, [])) == [0, 1, 2, 3, 4, 5]
    assert [sum([7, 1, 5, 3, 3, 1][i] for i in b) for b in bins] == [10, 10]


# "é" as two byte tokens, as a byte-level tokenizer samples it: 200, 201; 7 is the same text as one token.
NAMED_CASES = {
    "clean chain": (([1], [2, 3], None), ([1, 2, 3, 4], [5], None), ([1, 2, 3, 4, 5, 6], [7], None)),
    "tail drift": (([1], [2, 3, 4], None), ([1, 2, 3, 9, 5], [6], None)),
    "thinking stripped": (([1, 2], [90, 91, 92, 3], None), ([1, 2, 3, 4], [90, 5], None), ([1, 2, 3, 4, 5, 6], [8], None)),
    "cut at the limit": (([1], [2, 3], None, "length"), ([1, 2, 3, 0, 4], [5], None)),
    "history shortened": (([1, 2, 3], [4], None), ([1, 2, 3, 4, 50, 51, 52], [6], None), ([1, 2, 3, 4, 59, 6, 8], [9], None)),
    "empty output": (([1], [], None), ([1, 2], [], None), ([1, 2, 3], [4], None)),
    "split unicode": (([1], [200, 201, 2], None), ([1, 7, 2, 3], [200, 201], None)),
    "parallel branches": (([1], [2], None), ([1, 2, 3], [4], None), ([1, 2, 5], [6], None), ([1, 2, 3, 4, 8], [9], None)),
    "same prompt twice": (([1, 2], [3], None), ([1, 2], [3], None)),
}


@pytest.mark.parametrize("name", NAMED_CASES)
def test_every_named_case_trains_each_sampled_token_once(name):
    trajectory = make(*NAMED_CASES[name])
    trained = []
    for row in reconcile(trajectory):
        assert row.mask.sum() == len(row.source)
        for (turn, offset), at in zip(row.source, np.flatnonzero(row.mask).tolist(), strict=True):
            record = trajectory.turns[turn]
            trained.append((turn, offset))
            assert row.ids[: at + 1].tolist() == record.prompt_ids + record.output_ids[: offset + 1]
    assert sorted(trained) == [(i, o) for i, turn in enumerate(trajectory.turns) for o in range(len(turn.output_ids))]
