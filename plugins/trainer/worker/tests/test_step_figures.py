"""What a step says of itself, what it refuses, and what its outcome does not depend on."""

import dataclasses

import builders
import numpy as np
import pytest
from worker_process import CACHE

from hone_worker import step_figures, train
from hone_worker.config import PRESETS, LossConfig
from hone_worker.cpu_llama.tree_plan import plan_tree
from hone_worker.errors import WorkerError
from hone_worker.packing import pack

MASKED = {"preset": "dppo", "tis": "sequence_mask", "tis_cap": 1.05}
LOSSES = [*({"preset": name} for name in sorted(PRESETS)), MASKED]


def name_of(options):
    return "-".join(map(str, options.values()))


def shifted(training, batch, by, versions=(1,)):
    """On-policy but for ``by``, which the logprobs of every other token are larger or smaller; versions in turn."""
    out = []
    for index, trajectory in enumerate(training.sampled(batch, noise=0)):
        turns = [
            dataclasses.replace(t, logprobs=[p + by * (-1) ** i for i, p in enumerate(t.logprobs)])
            for t in trajectory.turns
        ]
        out.append(dataclasses.replace(trajectory, turns=turns, policy_version=versions[index % len(versions)]))
    return out


def step(folder, batch, options, engine=None, noise=0.1):
    """(report, bytes of the adapter) after one step."""
    training = builders.training(folder, engine, noise)
    report = training.train_step(1, batch, LossConfig.from_json({"constant": 20, **options}))
    report = {name: value for name, value in report.items() if name not in builders.MEASURED}
    return report, {name: value.tobytes() for name, value in training.params.items()}, training


def test_a_fresh_adapter_has_no_kl_and_no_mismatch_with_the_base(llama_folder, rng):
    base = builders.training(llama_folder, noise=0.0)
    batch = base.sampled(builders.trajectories(rng), noise=0)
    report, _, _ = step(llama_folder, batch, {"preset": "dapo", "beta": 0.5}, noise=0.0)
    plain, _, _ = step(llama_folder, batch, {"preset": "dapo"}, noise=0.0)
    assert report["kl_base"] == 0 and report["loss"] == plain["loss"]
    assert report["mismatch_abs"] == report["mismatch_max"] == report["clip_fraction"] == 0
    assert report["ratio_mean"] == 1
    assert report["grad_norm"] == plain["grad_norm"] > 0


def test_figures_tell_the_mismatch_by_staleness(llama_folder, rng):
    training = builders.training(llama_folder)
    fresh = shifted(training, builders.trajectories(rng), 0.01, versions=(7,))
    old = shifted(training, builders.trajectories(rng), 0.2, versions=(5,))
    report = training.train_step(1, fresh + old, LossConfig(), None, 7)
    told = {name: value for name, value in report.items() if name.startswith("mismatch_abs_")}
    assert told == {"mismatch_abs_0": pytest.approx(0.01, rel=1e-3), "mismatch_abs_2": pytest.approx(0.2, rel=1e-3)}
    assert 0.01 < report["mismatch_abs"] < 0.2
    assert report["ratio_mean"] == pytest.approx(1, abs=0.1)
    # Nobody counts versions where rollouts cannot be old.
    report = training.train_step(2, fresh, LossConfig())
    assert not any(name.startswith("mismatch_abs_") for name in report)


def test_a_step_far_from_the_sampler_is_refused_and_changes_nothing(llama_folder, rng):
    training = builders.training(llama_folder)
    batch = shifted(training, builders.trajectories(rng), 0.75)
    before, moments = training.params, training.state.optimizer
    with pytest.raises(WorkerError) as caught:
        training.train_step(1, batch, LossConfig())
    assert (caught.value.code, caught.value.message, caught.value.hint) == (
        "OFF_POLICY",
        "Tokens sampled differ by 0.75 per token in log-probability between sampler and trainer, more than 0.5; the "
        "adapter was not changed.",
        "Sample with the weights, precision, chat template and temperature that are trained, without top_p or other "
        "filters.",
    )
    assert training.params is before and moments.updates == 0 and not moments.first
    assert training.state.step == 0 and training.state.results == {}
    # The number is free: the step can be taken with another batch.
    assert training.train_step(1, shifted(training, batch, 0.45), LossConfig())["mismatch_abs"] < 0.5


@pytest.mark.parametrize(
    ("versions", "by", "refused"),
    [
        ((4,), 0.45, None),
        ((4,), 0.6, "Tokens sampled differ by 0.6 per token"),
        ((3,), 0.6, "Tokens sampled a version ago differ by 0.6 per token"),
        ((2,), 0.6, None),
        ((2,), 1.1, "Tokens sampled 2 versions ago differ by 1.1 per token in log-probability between sampler and trainer, more than 1;"),
        ((5,), 0.6, "Tokens sampled differ by 0.6 per token"),
    ],
)
def test_the_freshest_tokens_decide_and_older_ones_may_differ_more(llama_folder, rng, versions, by, refused):
    training = builders.training(llama_folder)
    batch = shifted(training, builders.trajectories(rng), by, versions)
    if refused is None:
        training.train_step(1, batch, LossConfig(), None, 4)
        return
    with pytest.raises(WorkerError) as caught:
        training.train_step(1, batch, LossConfig(), None, 4)
    assert caught.value.code == "OFF_POLICY" and caught.value.message.startswith(refused)


def test_old_rollouts_that_moved_far_do_not_stop_a_run_whose_fresh_ones_fit(llama_folder, rng):
    training = builders.training(llama_folder)
    fresh = shifted(training, builders.trajectories(rng), 0.02, (9,))
    old = shifted(training, builders.trajectories(rng), 3.0, (5,))
    report = training.train_step(1, fresh + old, LossConfig.from_json({"preset": "dppo"}), None, 9)
    assert report["mismatch_abs"] > step_figures.MISMATCH_LIMIT and report["grad_norm"] > 0


def test_unknown_logprobs_are_never_refused(llama_folder, rng):
    batch = [
        dataclasses.replace(t, turns=[dataclasses.replace(turn, logprobs=None) for turn in t.turns])
        for t in builders.trajectories(rng)
    ]
    report, _, _ = step(llama_folder, batch, {"preset": "dapo"})
    assert report["mismatch_abs"] == 0 and report["ratio_mean"] == 1 and report["grad_norm"] > 0


@pytest.mark.parametrize("options", LOSSES, ids=name_of)
def test_a_step_does_not_depend_on_how_it_is_cut_packed_and_ordered(llama_folder, rng, options):
    batch = builders.training(llama_folder).sampled(builders.trajectories(rng))
    expected, _, training = step(llama_folder, batch, options)
    assert expected["grad_norm"] > 0
    reordered = [batch[i] for i in rng.permutation(len(batch))]
    ways = [("padded rows of another engine", batch, {"engine": "mlx"}), ("rows in another order", reordered, {})]
    for min_shared, budget in ((10**6, 10**6), (10**6, 8), (16, 8), (1, 64)):
        ways.append((f"shared from {min_shared}, cut at {budget}", batch, {"cut": (min_shared, budget)}))
    for way, rows, how in ways:
        other = builders.training(llama_folder, how.get("engine"))
        if cut := how.get("cut"):
            other.engine.plan = lambda rows, cut=cut: plan_tree(pack(rows, cut[0]), 2, cut[1])
        report = other.train_step(1, rows, LossConfig.from_json({"constant": 20, **options}))
        for figure in ("loss", "grad_norm", "entropy", "mismatch_abs", "clip_fraction", "ratio_mean"):
            assert np.isclose(report[figure], expected[figure], rtol=2e-4, atol=1e-6), (way, figure)
        for name, moment in training.state.optimizer.first.items():
            top = np.abs(moment).max()
            assert np.abs(other.state.optimizer.first[name] - moment).max() <= 2e-3 * top + 1e-9, (way, name)


@pytest.mark.parametrize("options", LOSSES, ids=name_of)
@pytest.mark.parametrize("engine", ["cpu_llama", "mlx"])
def test_what_is_not_trained_changes_no_bit(llama_folder, rng, options, engine, monkeypatch):
    batch = builders.training(llama_folder).sampled(builders.trajectories(rng))
    masked = dataclasses.replace(batch[0], rollout_id="left out", weight=0.0)
    clean = step(llama_folder, [*batch, masked], options, engine)
    rows_of = train.to_rows

    def poisoned(trajectories):
        rows = rows_of(trajectories)
        for row in rows:
            context = np.flatnonzero(~row.mask)
            row.logprobs[context] = np.resize([np.nan, np.inf, -np.inf, 1e30, -1e30], len(context))
        return rows

    monkeypatch.setattr(train, "to_rows", poisoned)
    wild = [dataclasses.replace(t, logprobs=[1e30] * len(t.output_ids)) for t in masked.turns]
    again = step(llama_folder, [*batch, dataclasses.replace(masked, advantage=1e30, turns=wild)], options, engine)
    assert again[:2] == clean[:2]


@pytest.mark.parametrize("options", [one for one in LOSSES if one["preset"] != "ce"], ids=name_of)
def test_groups_of_equal_rewards_move_nothing(llama_folder, rng, options):
    training = builders.training(llama_folder)
    batch = [dataclasses.replace(t, advantage=0.0) for t in training.sampled(builders.trajectories(rng))]
    before = training.params
    report = training.train_step(1, batch, LossConfig.from_json(options))
    assert report["grad_norm"] == 0 and report["loss"] == 0 and training.params is before
    # Beside others, they are as if they were not there but for the normaliser.
    plan = training.engine.plan(train.to_rows(batch))
    found = training.engine.run(plan, training.params)
    slope = train.loss.policy(found.logp, plan.tree.entries, np.ones(len(found.logp)), LossConfig.from_json(options)).slope
    assert not slope.any()


def test_the_worker_warns_of_a_mismatch_and_refuses_a_large_one(start, llama_folder, rng, tmp_path):
    training, worker = builders.training(llama_folder, noise=0), start()
    batch = builders.trajectories(rng)
    paths = {by: builders.write_batch(tmp_path / f"{by}.jsonl", shifted(training, batch, by)) for by in (0.04, 0.06, 0.6)}
    # A rate so small that the policy stays what it is.
    worker.call("init", model=str(llama_folder), cache_dir=CACHE, optimizer={"learning_rate": 1e-9})
    assert worker.call("train_step", step=1, batch=paths[0.6])["code"] == "OFF_POLICY"
    assert worker.call("train_step", step=1, batch=paths[0.04])["mismatch_abs"] == pytest.approx(0.04, rel=1e-2)
    assert not [event for event in worker.events if event["event"] == "warning"]
    assert worker.call("train_step", step=2, batch=paths[0.06])["mismatch_abs"] == pytest.approx(0.06, rel=1e-2)
    warnings = [event for event in worker.events if event["event"] == "warning"]
    assert [(event["code"], event["message"]) for event in warnings] == [
        ("OFF_POLICY", "Step 2: sampler and trainer differ by 0.06 per token in log-probability.")]
