"""Passes against transformers' own forward and torch's autograd, and what must not change them."""

import dataclasses

import builders
import numpy as np
import pytest
from adapted import close, naive, opened

from hone_worker.errors import WorkerError
from hone_worker.lightning import frozen_head
from hone_worker.rows import Row, to_rows

# Which architectures' attention is no more than hone's.
SHARING = {"qwen3": True, "llama": True, "phi3": True, "granite": True, "mistral": False, "gemma2": False}


@pytest.fixture
def rows(rng):
    return to_rows(builders.trajectories(rng))


@pytest.fixture
def slopes(rng):
    return rng.standard_normal(4096).astype(np.float32)


def run(engine, params, rows, slopes):
    """Slopes are the rows' own, in whatever order these come."""
    plan = engine.plan(rows)
    return engine.run(plan, params, lambda index, _: slopes[index])


@pytest.mark.parametrize("name", SHARING)
def test_logp_entropy_and_gradients_are_those_of_the_library(model_folders, rows, slopes, name):
    engine, params = opened(model_folders[name])
    plan = engine.plan(rows)
    assert (plan.physical < 0.6 * plan.tree.logical) == SHARING[name]
    slopes = slopes[: len(plan.tree.entries)]
    logp, grads = naive(engine, rows, params, slopes)
    found = run(engine, params, rows, slopes)
    assert np.abs(found.logp - logp).max() < 1e-5
    assert all(np.abs(value).max() > 0 for value in grads.values())
    close(found.grads, grads)
    assert ((found.entropy > 0) & (found.entropy < np.log(engine.vocab_size))).all()


@pytest.mark.parametrize("name", SHARING)
def test_without_a_slope_passes_take_any_adapter_and_rows_may_be_left_out(model_folders, rows, name):
    engine, params = opened(model_folders[name])
    plan, zeros = engine.plan(rows), np.zeros(4096, np.float32)
    found, base = engine.run(plan, params), engine.run(plan, None)
    assert found.grads == base.grads == {}
    assert np.abs(found.logp - base.logp).max() > 0.1
    for values, result in ((params, found), (None, base)):
        reference = np.concatenate(
            [engine.reference_logprobs(row.ids, values)[np.flatnonzero(row.mask) - 1] for row in rows]
        )
        assert np.abs(result.logp - reference).max() < 1e-5
    moved = {key: value * np.float32(1.5) for key, value in params.items()}
    other = engine.run(plan, moved)
    assert np.abs(other.logp - found.logp).max() > 0.01
    # The trained adapter is as it was, with and without a gradient.
    assert (engine.run(plan, params).logp == found.logp).all()
    assert (run(engine, params, rows, zeros).logp == found.logp).all()
    some = engine.run(dataclasses.replace(plan), None, only={2})
    wanted = plan.tree.entries.row == 2
    assert not np.isnan(some.logp[wanted]).any()
    assert np.allclose(some.logp[wanted], base.logp[wanted], atol=1e-6)


def test_gradients_equal_finite_differences(qwen_folder, rng):
    engine, params = opened(qwen_folder)
    plan = engine.plan(to_rows(builders.trajectories(rng, 1, 2)))
    grads = engine.run(plan, params, lambda index, _: np.ones(len(index))).grads
    for name in sorted(params)[::5]:
        direction = rng.standard_normal(params[name].shape).astype(np.float32)

        def total(step, name=name, direction=direction):
            moved = {**params, name: params[name] + np.float32(step) * direction}
            return float(engine.run(plan, moved).logp.astype(np.float64).sum())

        numeric = (total(3e-3) - total(-3e-3)) / 6e-3
        assert np.isclose(numeric, float((grads[name] * direction).sum()), rtol=3e-2, atol=3e-2), name


@pytest.mark.parametrize(
    "options",
    [
        {"prefix_sharing": "never"},
        {"micro_batch_tokens": 100},
        {"micro_batch_tokens": 1},
        {"gradient_checkpointing": True},
        {"gradient_checkpointing": True, "micro_batch_tokens": 100, "prefix_sharing": "never"},
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["qwen3", "phi3"])
def test_how_rows_are_cut_shared_and_kept_changes_nothing(model_folders, rows, slopes, name, options):
    engine, params = opened(model_folders[name])
    whole = run(engine, params, rows, slopes)
    assert len(engine.plan(rows).micros) == 1
    again, _ = opened(model_folders[name], **options)
    again.model.upload(params)
    plan = again.plan(rows)
    assert (len(plan.micros) > 1) == ("micro_batch_tokens" in options)
    assert (plan.physical == sum(len(row.ids[: np.flatnonzero(row.mask)[-1]]) for row in rows)) == (
        options.get("prefix_sharing") == "never" or options.get("micro_batch_tokens") == 1
    )
    found = run(again, params, rows, slopes)
    assert np.abs(found.logp - whole.logp).max() < 1e-5
    assert np.abs(found.entropy - whole.entropy).max() < 1e-5
    close(found.grads, whole.grads)


@pytest.mark.parametrize("name", ["llama", "mistral"])
def test_the_order_of_rows_changes_nothing(model_folders, rows, slopes, name):
    engine, params = opened(model_folders[name], micro_batch_tokens=200)
    counts = [int(row.mask.sum()) for row in rows]
    parts = np.split(slopes[: sum(counts)], np.cumsum(counts)[:-1])
    straight = run(engine, params, rows, slopes)
    order = np.random.default_rng(1).permutation(len(rows))
    mixed = run(engine, params, [rows[i] for i in order], np.concatenate([parts[i] for i in order]))
    expected = np.split(straight.logp, np.cumsum(counts)[:-1])
    assert np.abs(mixed.logp - np.concatenate([expected[i] for i in order])).max() < 1e-5
    close(mixed.grads, straight.grads)


def test_chunks_of_the_head_change_nothing(qwen_folder, rows, slopes, monkeypatch):
    engine, params = opened(qwen_folder)
    whole = run(engine, params, rows, slopes)
    monkeypatch.setattr(frozen_head, "CHUNK", 3)
    cut = run(engine, params, rows, slopes)
    assert np.abs(cut.logp - whole.logp).max() < 1e-5
    close(cut.grads, whole.grads)


@pytest.mark.parametrize("name", ["gemma2", "mistral"])
def test_padding_changes_nothing(model_folders, rows, slopes, name):
    engine, params = opened(model_folders[name])
    narrow = run(engine, params, rows[:2], slopes)
    # Beside a longer row the first two are padded more.
    trained = int(rows[0].mask.sum() + rows[1].mask.sum())
    long = dataclasses.replace(rows[2], ids=np.tile(rows[2].ids, 2), mask=np.tile(rows[2].mask, 2), logprobs=np.tile(rows[2].logprobs, 2))
    wide = run(engine, params, [*rows[:2], long], np.concatenate([slopes[:trained], np.zeros(4096, np.float32)]))
    assert engine.plan([*rows[:2], long]).micros[0].mask.shape[1] > 1.5 * engine.plan(rows[:2]).micros[0].mask.shape[1]
    assert np.abs(wide.logp[:trained] - narrow.logp).max() < 1e-5
    close(wide.grads, narrow.grads)


def test_padding_counts_in_what_a_micro_batch_may_hold(model_folders, rows):
    engine, _ = opened(model_folders["mistral"], micro_batch_tokens=200)
    plan = engine.plan(rows)
    widths = [micro.ids.shape[1] for micro in plan.micros]
    assert widths == sorted(widths) and len(widths) > 1
    assert all(micro.tokens <= 200 for micro in plan.micros)
    assert sorted(i for micro in plan.micros for i in micro.members) == list(range(len(rows)))


def forked(rng):
    """A chain that is whole, and the same one as two rows of which the second repeats the first as context."""
    ids = rng.integers(2, 96, 70).astype(np.int32)
    both, first, second = np.zeros(70, bool), np.zeros(70, bool), np.zeros(70, bool)
    first[30:40], second[55:70] = True, True
    both |= first | second

    def row(mask, stop=70):
        return Row("r", "g", 1.0, 1.0, ids[:stop], mask[:stop], np.full(stop, -4, np.float32))

    return [row(both)], [row(first, 40), row(second)]


def test_a_fork_whose_history_is_the_same_trains_as_the_chain_does(llama_folder, rng, slopes):
    chain, fork = forked(rng)
    engine, params = opened(llama_folder)
    assert engine.plan(fork).physical == engine.plan(chain).physical
    left, right = (run(engine, params, rows, slopes) for rows in (chain, fork))
    assert np.abs(left.logp - right.logp).max() < 1e-5
    close(left.grads, right.grads, 1e-5)


def test_gradients_of_rows_that_train_the_same_tokens_add_up(llama_folder, rng):
    [row], _ = forked(rng)
    engine, params = opened(llama_folder)
    count = int(row.mask.sum())
    one = run(engine, params, [row], np.full(count, 2.5, np.float32))
    two = run(engine, params, [row, row], np.repeat(np.float32([2, 0.5]), count))
    assert engine.plan([row, row]).physical == engine.plan([row]).physical
    assert (two.logp[:count] == two.logp[count:]).all()
    close(two.grads, one.grads, 1e-5)


def test_what_stands_beside_untrained_tokens_does_not_reach_the_step(llama_folder, rng):
    clean = builders.trajectories(rng)
    rows = to_rows(clean)
    poisoned = [
        dataclasses.replace(row, logprobs=np.where(row.mask, row.logprobs, np.float32(np.inf))) for row in rows
    ]
    engine, params = opened(llama_folder)

    def step(rows):
        plan = engine.plan(rows)
        entries = plan.tree.entries
        return engine.run(
            plan, params, lambda i, logp: -np.exp(logp - entries.behaviour[i]) * entries.advantage[i]
        )

    left, right = step(rows), step(poisoned)
    assert np.isfinite(left.logp).all()
    for name in left.grads:
        assert np.isfinite(left.grads[name]).all() and (left.grads[name] == right.grads[name]).all(), name


def test_the_same_pass_twice_gives_the_same_bits(qwen_folder, rows, slopes):
    engine, params = opened(qwen_folder)
    first, second = (run(engine, params, rows, slopes) for _ in range(2))
    assert (first.logp == second.logp).all()
    assert all((first.grads[name] == second.grads[name]).all() for name in first.grads)


def test_prefixes_are_shared_always_or_not_at_all(model_folders):
    with pytest.raises(WorkerError) as caught:
        opened(model_folders["gemma2"], prefix_sharing="always")
    assert caught.value.to_json() == {
        "code": "CONFIG_INVALID",
        "message": f"The model {str(model_folders['gemma2'])!r} has an attention of its own, which cannot share prefixes.",
        "hint": 'Set prefix_sharing to "auto".',
    }
    opened(model_folders["llama"], prefix_sharing="always")
