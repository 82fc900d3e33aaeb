"""The hand-written passes against mlx-lm's module and autograd, and what a step promises."""

import dataclasses

import builders
import numpy as np
import pytest

from hone_worker.config import PRESETS, LossConfig
from hone_worker.errors import WorkerError
from hone_worker.cpu_llama.tree_plan import plan_tree
from hone_worker.packing import pack
from hone_worker.rows import Trajectory, TurnRecord, to_rows


def _relative(left, right):
    top = max(np.abs(right).max(), 1e-12)
    return np.abs(left - right).max() / top


def test_tree_passes_equal_module_autograd_in_logp_and_gradients(llama_folder, rng):
    fast, slow = builders.training(llama_folder), builders.training(llama_folder, engine="mlx")
    assert fast.engine.name == "cpu_llama" and slow.engine.name == "mlx"
    rows = to_rows(builders.trajectories(rng))
    weight = rng.standard_normal(4096)
    found = [t.engine.run(t.engine.plan(rows), t.params, lambda i, _: weight[i]) for t in (fast, slow)]
    assert np.abs(found[0].logp - found[1].logp).max() < 1e-4
    assert np.abs(found[0].entropy - found[1].entropy).max() < 1e-3
    assert set(found[0].grads) == set(found[1].grads) == set(fast.params)
    for name, value in found[1].grads.items():
        assert np.abs(value).max() > 0
        assert _relative(found[0].grads[name], value) < 1e-4, name


def test_tree_passes_give_the_same_gradients_whatever_is_shared_and_however_it_is_cut(llama_folder, rng):
    engine = builders.training(llama_folder).engine
    params = builders.training(llama_folder).params
    rows = to_rows(builders.trajectories(rng))
    slope = lambda i, logp: np.exp(logp)  # noqa: E731
    dense = engine.run(plan_tree(pack(rows, 10**6), 1), params, slope)
    shared = pack(rows)
    assert len(shared.ids) < 0.6 * shared.logical
    for workers, budget in ((1, 10**6), (2, 64), (3, 8)):
        again = engine.run(plan_tree(shared, workers, budget), params, slope)
        assert np.abs(again.logp - dense.logp).max() < 1e-4
        for name in params:
            assert _relative(again.grads[name], dense.grads[name]) < 1e-4, name


def test_tree_passes_split_queries_into_blocks_without_changing_anything(llama_folder, rng, monkeypatch):
    from hone_worker.cpu_llama import head, layer

    training = builders.training(llama_folder)
    rows = to_rows(builders.trajectories(rng))
    slope = lambda i, logp: np.ones(len(i))  # noqa: E731
    whole = training.engine.run(training.engine.plan(rows), training.params, slope)
    monkeypatch.setattr(layer, "QUERY_BLOCK", 3)
    monkeypatch.setattr(head, "HEAD_BLOCK", 2)
    cut = training.engine.run(training.engine.plan(rows), training.params, slope)
    for name in whole.grads:
        assert _relative(cut.grads[name], whole.grads[name]) < 1e-4, name


def test_gradients_equal_finite_differences(llama_folder, rng):
    training = builders.training(llama_folder)
    plan = training.engine.plan(to_rows(builders.trajectories(rng, 1, 2)))
    params = training.params
    found = training.engine.run(plan, params, lambda i, _: np.ones(len(i))).grads
    for name in sorted(params)[::3]:
        direction = rng.standard_normal(params[name].shape).astype(np.float32)
        def total(step, name=name, direction=direction):
            moved = {**params, name: params[name] + np.float32(step) * direction}
            return float(training.engine.run(plan, moved).logp.astype(np.float64).sum())
        numeric = (total(3e-3) - total(-3e-3)) / 6e-3
        assert np.isclose(numeric, float((found[name] * direction).sum()), rtol=3e-2, atol=3e-2), name


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_train_step_agrees_between_engines_for_every_preset(llama_folder, rng, preset):
    batch = builders.training(llama_folder).sampled(builders.trajectories(rng))
    options = {} if preset == "ce" else {"beta": 0.1}
    config = LossConfig.from_json({"preset": preset, "constant": 20, **options})
    results = [builders.training(llama_folder, e).train_step(1, batch, config) for e in ("cpu_llama", "mlx")]
    for key in ("loss", "grad_norm", "kl_base", "mismatch_abs", "clip_fraction", "entropy"):
        assert np.isclose(results[0][key], results[1][key], rtol=2e-4, atol=1e-6), key
    assert results[0]["forks"] == 2 and results[0]["tokens"] == sum(len(t.output_ids) for r in batch for t in r.turns)


def test_mlx_engine_trains_another_architecture(qwen_folder, rng):
    training = builders.training(qwen_folder)
    assert training.engine.name == "mlx"
    batch = builders.trajectories(rng)
    losses = [training.supervise(i, batch, 1e-2)["loss"] for i in range(1, 9)]
    assert losses[-1] < 0.9 * losses[0]


def test_supervise_lowers_the_loss_and_reports_its_value(llama_folder, rng):
    training = builders.training(llama_folder)
    batch = builders.trajectories(rng)
    logps = [p for row in training.logprobs(batch)["rows"] for p in row["logprobs"]]
    first = training.supervise(1, batch, 1e-2)
    assert np.isclose(first["loss"], -np.mean(logps), rtol=1e-5)
    assert first["physical_tokens"] < first["logical_tokens"]
    for step in range(2, 12):
        last = training.supervise(step, batch, 1e-2)
    assert last["loss"] < 0.9 * first["loss"]


def test_train_step_moves_probability_with_the_advantage(llama_folder, rng):
    batch = builders.trajectories(rng, 1, 4)
    batch = [dataclasses.replace(t, advantage=1.0 if i % 2 else -1.0) for i, t in enumerate(batch)]
    training = builders.training(llama_folder)
    batch = training.sampled(batch, noise=0)
    def sums():
        return np.array([sum(row["logprobs"]) for row in training.logprobs(batch)["rows"]])
    before = sums()
    for step in range(1, 6):
        training.train_step(step, batch, LossConfig.from_json({"preset": "reinforce"}), 5e-3)
    change = sums() - before
    assert (change[1::2] > 0).all() and (change[0::2] < 0).all()


def test_train_step_is_bit_identical_for_the_same_batch(llama_folder, rng):
    batch = builders.training(llama_folder).sampled(builders.trajectories(rng))
    results = []
    for _ in range(2):
        training = builders.training(llama_folder)
        result = training.train_step(1, batch, LossConfig())
        for name in builders.MEASURED:
            assert result.pop(name) > 0
        results.append((result, {k: v.tobytes() for k, v in training.params.items()}))
    assert results[0] == results[1]


def test_train_step_answers_a_repeated_number_from_memory(llama_folder, rng):
    training = builders.training(llama_folder)
    first = training.train_step(1, training.sampled(builders.trajectories(rng)), LossConfig())
    params = training.params
    assert training.train_step(1, [], LossConfig()) is first
    assert training.params is params and training.state.step == 1


def test_rows_without_advantage_cost_nothing_but_count_in_the_normaliser(llama_folder, rng):
    batch = builders.training(llama_folder).sampled(builders.trajectories(rng))
    config = LossConfig.from_json({"preset": "dapo"})
    idle = [dataclasses.replace(t, advantage=0.0) for t in builders.trajectories(rng)]
    alone = builders.training(llama_folder).train_step(1, batch, config)
    both = builders.training(llama_folder).train_step(1, batch + idle, config)
    assert both["physical_tokens"] == alone["physical_tokens"]
    assert np.isclose(both["grad_norm"], alone["grad_norm"] * alone["tokens"] / both["tokens"], rtol=1e-5)
    nothing = builders.training(llama_folder).train_step(1, idle, config)
    assert nothing["grad_norm"] == 0 and nothing["tokens"] > 0


def test_fresh_adapter_is_the_base_model(llama_folder, rng):
    training = builders.training(llama_folder, noise=0.0)
    plan = training.engine.plan(to_rows(builders.trajectories(rng)))
    base = training.engine.run(plan, None).logp
    found = training.engine.run(plan, training.params, lambda i, _: np.ones(len(i)))
    assert np.array_equal(base, found.logp)
    for name, value in found.grads.items():
        assert (np.abs(value).max() > 0) == name.endswith("lora_b"), name


def test_train_step_refuses_what_it_cannot_train(llama_folder, rng):
    training = builders.training(llama_folder)
    batch = builders.trajectories(rng, vocab=500)
    with pytest.raises(WorkerError, match="vocabulary of 96") as caught:
        training.train_step(1, batch, LossConfig())
    assert caught.value.code == "BATCH_INVALID"
    with pytest.raises(WorkerError) as caught:
        training.supervise(1, [])
    assert caught.value.code == "BATCH_EMPTY"
    training.params = {k: v * np.float32(np.nan) for k, v in training.params.items()}
    with pytest.raises(WorkerError) as caught:
        training.train_step(1, builders.trajectories(rng), LossConfig())
    assert caught.value.code == "STEP_DIVERGED"


def test_states_kept_from_sampling_replace_the_frozen_layers(llama_folder, rng):
    from hone_worker.cpu_llama.hidden_states import ROOT, HiddenStates

    batch = builders.trajectories(rng)
    plain, kept = builders.training(llama_folder), builders.training(llama_folder)
    rows = to_rows(batch)
    whole = plain.engine.plan(rows)
    plain.engine.run(whole, None)
    store = HiddenStates(2, 32, capacity=4096)
    ends = {-1: ROOT}
    for index, segment in enumerate(whole.tree.segments):
        span = slice(segment.start, segment.stop)
        ends[index] = store.add(ends[segment.parent], whole.tree.ids[span].tolist(), whole.boundary[span])
    kept.engine.hidden = store
    found = kept.engine.plan(rows)
    assert found.trunk == [] and np.allclose(found.boundary, whole.boundary, atol=1e-5)
    # One rollout that the store has not seen: it and what it hangs on are computed.
    fresh = builders.trajectories(np.random.default_rng(99), 1, 1)
    assert sum(len(p.tokens) for level in kept.engine.plan(to_rows(batch + fresh)).trunk for p in level) > 0
    batch = plain.sampled(batch + fresh)
    results = [t.train_step(1, batch, LossConfig()) for t in (plain, kept)]
    for key in ("loss", "grad_norm", "mismatch_abs", "physical_tokens"):
        assert np.isclose(results[0][key], results[1][key], rtol=1e-4), key


def test_hidden_store_forgets_the_oldest_states():
    from hone_worker.cpu_llama.hidden_states import ROOT, HiddenStates

    store = HiddenStates(1, 4, capacity=6)
    store.add(ROOT, [1, 2, 3, 4], np.ones((4, 4), np.float32))
    key = store.add(ROOT, [1, 2], 2 * np.ones((2, 4), np.float32))
    store.add(key, [7, 8, 9], np.ones((3, 4), np.float32))
    assert len(store) == 6
    rows = to_rows([Trajectory("r", "g", 0, 1.0, 1.0, [TurnRecord([1, 2, 7, 8], [9, 3])])])
    states, known = store.find(pack(rows))
    assert known.tolist() == [False, True, True, True, True] and states[1, 0] == 2
