"""The loss against closed forms, finite differences and poison."""

from types import SimpleNamespace

import numpy as np
import pytest

import loss_golden
from hone_worker.config import PRESETS, LossConfig, LoraConfig, OptimConfig
from hone_worker.errors import WorkerError
from hone_worker import loss
from hone_worker.optimizer import AdamW, clip, global_norm
from hone_worker.packing import Entries

# What numpy and torch have under one name with one meaning; the loss may use no other.
SHARED = (
    "asarray", "bincount", "bool", "clip", "exp", "float64", "isnan", "minimum", "ones_like", "where", "zeros_like",
)
FULL = {"beta": 0.2, "tau": 0.1, "tis": "sequence_mask", "tis_cap": 1.2}
LENGTHS = [3, 5, 2, 4]
ADVANTAGE = np.array([1.0, -0.5, 0.75, -1.25])
N = sum(LENGTHS)


def entries(logp, offsets=0.0):
    sequence = np.repeat(np.arange(4), LENGTHS)
    return Entries(
        state=np.arange(N),
        target=np.zeros(N, int),
        behaviour=(logp - offsets).astype(np.float32),
        advantage=ADVANTAGE[sequence].astype(np.float32),
        weight=np.ones(N, np.float32),
        policy_version=np.zeros(N, int),
        row=sequence,
        sequence=sequence,
    )


def run(config, logp, found, reference=None):
    factor = loss.factors(np.ones(4), np.array(LENGTHS), config)[found.sequence]
    return loss.policy(logp, found, factor, config, reference)


@pytest.fixture
def logp(rng):
    return (-2 + 0.5 * rng.standard_normal(N)).astype(np.float32).astype(np.float64)


def preset(name, **changes):
    return LossConfig.from_json({"preset": name, **changes})


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("dapo", lambda a, n: -a / N),
        ("cispo", lambda a, n: -a / N),
        ("reinforce", lambda a, n: -a / N),
        ("grpo", lambda a, n: -a / (4 * n)),
        ("gspo", lambda a, n: -a / (4 * n)),
        ("dr_grpo", lambda a, n: -a / 80),
    ],
)
def test_slope_on_policy_has_its_closed_form(logp, name, expected):
    found = entries(logp)
    result = run(preset(name, constant=80), logp, found)
    lengths = np.array(LENGTHS)[found.sequence]
    assert np.allclose(result.slope, expected(found.advantage, lengths), rtol=1e-6)


def test_value_on_policy_has_its_closed_form(logp):
    found = entries(logp)
    assert np.isclose(run(preset("grpo"), logp, found).value.sum(), -ADVANTAGE.mean(), rtol=1e-6)
    assert np.isclose(run(preset("gspo"), logp, found).value.sum(), -ADVANTAGE.mean(), rtol=1e-6)
    weighted = -(ADVANTAGE * LENGTHS).sum() / N
    assert np.isclose(run(preset("dapo"), logp, found).value.sum(), weighted, rtol=1e-6)


@pytest.mark.parametrize("case", loss_golden.CASES, ids=loss_golden.name_of)
def test_loss_has_its_golden_values(case):
    loss_golden.check(case, loss_golden.compute(case))


def test_golden_values_leave_out_no_preset_and_meet_every_clip():
    assert {case["loss"]["preset"] for case in loss_golden.CASES} == PRESETS.keys()
    clipped = {c["loss"]["preset"] for c in loss_golden.CASES if loss_golden.compute(c).clipped.any()}
    assert clipped == {"dapo", "grpo", "dr_grpo", "gspo", "cispo", "dppo"}


@pytest.mark.parametrize("extra", [{}, {"tis": "sequence_mask", "tis_cap": 1.1}])
@pytest.mark.parametrize("name", sorted(PRESETS))
def test_slope_is_the_derivative_of_the_value(logp, rng, name, extra):
    found = entries(logp, 0.4 * rng.standard_normal(N) if name != "gspo" else 2e-4 * rng.standard_normal(N))
    config = preset(name, **({} if name == "ce" else {"beta": 0.2, "tau": 0.3, **extra}))
    reference = logp + 0.3 * rng.standard_normal(N)
    slope, numeric = run(config, logp, found, reference).slope, np.empty(N)
    if name == "cispo":
        # Its weight is detached: derived is what multiplies logp. The penalties are derived with the other presets.
        made = run(preset(name, **extra), logp, found)
        assert np.allclose(made.slope * logp, made.value, rtol=1e-12)
        return
    for i in range(N):
        step = np.zeros(N)
        step[i] = 1e-6
        up, down = (run(config, logp + s * step, found, reference).value.sum() for s in (1, -1))
        numeric[i] = (up - down) / 2e-6
    assert np.allclose(slope, numeric, rtol=1e-4, atol=1e-7)
    assert slope.any()


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_any_namespace_that_has_the_shared_names_computes_the_loss(logp, rng, name):
    shared = SimpleNamespace(**{word: getattr(np, word) for word in SHARED})
    found = entries(logp, 0.4 * rng.standard_normal(N))
    found.behaviour[3] = np.nan
    reference, config = logp + 0.3 * rng.standard_normal(N), preset(name, **({} if name == "ce" else FULL))
    factor = loss.factors(np.ones(4), np.array(LENGTHS), config)[found.sequence]
    expected = loss.policy(logp, found, factor, config, reference)
    again = loss.policy(logp, found, factor, config, reference, xp=shared)
    for field in ("value", "slope", "clipped"):
        assert np.array_equal(getattr(again, field), getattr(expected, field))
    assert np.array_equal(loss.k3(logp, reference, shared), loss.k3(logp, reference))
    simple = loss.cross_entropy(logp, factor, shared)
    assert np.array_equal(simple.value, -factor * logp) and not simple.clipped.any()


def test_ppo_stops_where_the_ratio_went_the_wanted_way_too_far(logp):
    far = np.where(np.arange(N) % 2, 0.5, -0.5)
    found = entries(logp, far)
    result = run(preset("dapo"), logp, found)
    stopped = ((found.advantage > 0) & (far > 0)) | ((found.advantage < 0) & (far < 0))
    assert (result.slope[stopped] == 0).all() and (result.slope[~stopped] != 0).all()
    assert np.array_equal(result.clipped, stopped)


def test_cispo_caps_the_weight_but_keeps_the_gradient(logp):
    found = entries(logp, 3.0)
    result = run(preset("cispo"), logp, found)
    assert np.allclose(result.slope, -5.0 * found.advantage / N) and result.clipped.all()


def test_dppo_leaves_out_tokens_whose_probability_moved_far_enough_with_the_advantage(logp):
    # From probability 0.5 down or up by 0.15 and by 0.25; the bounds are 0.2.
    after = np.log(np.resize([0.25, 0.35, 0.65, 0.75], N))
    found = entries(after)
    found.behaviour[:] = np.log(0.5)
    result = run(preset("dppo", tau=0), after, found)
    moved = np.exp(after) - 0.5
    out = ((moved > 0.2) & (found.advantage > 0)) | ((moved < -0.2) & (found.advantage < 0))
    assert out.any() and not out.all() and np.array_equal(result.clipped, out)
    assert np.allclose(result.slope, np.where(out, 0, -found.advantage * np.exp(after) / 0.5 / N), rtol=1e-6)
    # tau pulls those that were left out back to the sampler, and leaves tokens without advantage alone.
    pulled = run(preset("dppo", tau=1.0), after, found)
    assert np.allclose(pulled.slope - result.slope, 2 * (after - found.behaviour) / N, rtol=1e-6)
    found.advantage[:4] = 0
    assert not run(preset("dppo", tau=1.0), after, found).slope[:4].any()


def test_dppo_has_a_bound_for_each_direction(logp):
    after = np.log(np.resize([0.35, 0.65], N))
    found = entries(after)
    found.behaviour[:] = np.log(0.5)
    for low, high in ((0.1, 0.2), (0.2, 0.1)):
        left_out = run(preset("dppo", eps_low=low, eps_high=high), after, found).clipped
        down, up = (found.advantage < 0) & (after < np.log(0.5)), (found.advantage > 0) & (after > np.log(0.5))
        assert np.array_equal(left_out, down if low < high else up)


def test_sequence_mask_drops_whole_trajectories_by_their_mean_ratio(logp):
    far = np.zeros(N)
    far[[4, 9]] = np.log(12.0), np.log(4.0)  # mean ratios (4 + 12) / 5 and (1 + 4) / 2: one above 3, one below
    found = entries(logp, far)
    free = run(preset("dapo", eps_high=20), logp, found)
    for options in ({}, {"beta": 0.5, "tau": 0.5}):
        result = run(preset("dapo", eps_high=20, tis="sequence_mask", tis_cap=3.0, **options), logp, found, logp + 0.1)
        dropped = found.sequence == 1
        assert not result.slope[dropped].any() and not result.value[dropped].any()
        assert np.array_equal(result.clipped, dropped)
        assert result.slope[~dropped].all()
    result = run(preset("dapo", eps_high=20, tis="sequence_mask", tis_cap=3.0), logp, found)
    # The rest is what it was: what is dropped still counts in the normaliser.
    assert np.array_equal(result.slope[~dropped], free.slope[~dropped])


@pytest.mark.parametrize("name", sorted(PRESETS.keys() - {"ce"}))
@pytest.mark.parametrize("poison", [-1e30, -np.inf])
def test_what_one_dropped_trajectory_holds_reaches_no_other(logp, name, poison):
    found = entries(logp, 0.1)
    options = {"tis": "sequence_mask", "tis_cap": 3.0, "tau": 0.1}
    with np.errstate(all="ignore"):
        found.behaviour[found.sequence == 1] = -5e4
        clean = run(preset(name, **options), logp, found)
        found.behaviour[found.sequence == 1] = poison
        poisoned = run(preset(name, **options), logp, found)
    for field in ("value", "slope", "clipped"):
        assert np.array_equal(getattr(clean, field), getattr(poisoned, field))


def test_tis_truncates_the_weight(logp):
    found = entries(logp, 2.0)
    result = run(preset("reinforce", tis_cap=2.0), logp, found)
    assert np.allclose(result.slope, -2.0 * found.advantage / N)


def test_unknown_behaviour_counts_as_on_policy(logp):
    found = entries(logp)
    found.behaviour[::2] = np.nan
    result = run(preset("dapo"), logp, found)
    assert np.allclose(result.slope, -found.advantage / N, rtol=1e-6) and np.isfinite(result.value).all()


def test_zero_advantage_has_exactly_no_gradient(logp, rng):
    found = entries(logp, rng.standard_normal(N))
    found.advantage[:] = 0
    for name in PRESETS.keys() - {"ce"}:
        assert not run(preset(name), logp, found).slope.any()


def test_beta_pulls_towards_the_reference_and_k3_is_its_value(logp, rng):
    reference = logp + rng.standard_normal(N)
    found = entries(logp)
    found.advantage[:] = 0
    result = run(preset("dapo", beta=0.5), logp, found, reference)
    gap = reference - logp
    assert np.allclose(result.value, 0.5 / N * (np.exp(gap) - gap - 1))
    assert (np.sign(result.slope) == -np.sign(gap)).all()
    assert (loss.k3(logp, reference) >= 0).all() and (loss.k3(logp, logp) == 0).all()


def test_factors_sum_to_one_over_the_step_and_follow_the_weights():
    lengths, weights = np.array(LENGTHS), np.array([1.0, 0.5, 2.0, 0.0])
    for normaliser in ("tokens", "sequences"):
        found = loss.factors(weights, lengths, LossConfig(normaliser=normaliser))
        assert np.isclose((found * lengths).sum(), 1.0) and found[3] == 0
    assert loss.factors(weights, lengths, LossConfig(normaliser="constant", constant=8))[2] == 0.25


@pytest.mark.parametrize(
    ("cls", "values", "problem"),
    [
        (LossConfig, {"preset": "ppo2"}, "no preset 'ppo2'"),
        (LossConfig, {"clip": "hard"}, "clip 'hard'"),
        (LossConfig, {"epsilon": 1}, "no option 'epsilon'"),
        (LossConfig, {"cap": 0}, "cap 0"),
        (LossConfig, {"tis": "sequence_mask"}, "tis 'sequence_mask' without tis_cap"),
        (LossConfig, {"preset": "ce", "beta": 0.1, "tis_cap": 2}, "clip 'ce' with tis_cap, beta"),
        (LoraConfig, {"rank": 0}, "rank 0"),
        (LoraConfig, {"target_modules": "q_proj"}, "target_modules 'q_proj'"),
        (OptimConfig, {"beta1": 1}, "beta1 1"),
        (OptimConfig, {"learning_rate": 0}, "learning_rate 0"),
    ],
)
def test_from_json_names_the_impossible_value(cls, values, problem):
    with pytest.raises(WorkerError, match=problem) as caught:
        cls.from_json(values)
    assert caught.value.code == "CONFIG_INVALID" and caught.value.hint


def test_loss_options_name_everything_that_is_wrong_at_once():
    with pytest.raises(WorkerError) as caught:
        LossConfig.from_json({"ratio": "row", "clip": "hard", "cap": 0, "tau": -1, "beta": -2, "tis": "token"})
    assert caught.value.message == (
        "The loss has ratio 'row'; clip 'hard'; tau -1; beta -2; cap 0; tis 'token' without tis_cap.")
    assert caught.value.hint == (
        "ratio is one of token, sequence; clip is one of cispo, ppo, dppo, none, ce; tau is 0 or more; beta is 0 or more; "
        "cap is greater than 0; tis_cap is the ratio from which tis corrects.")


def test_adamw_follows_its_definition(rng):
    config = OptimConfig(learning_rate=0.1, warmup_steps=2, weight_decay=0.01)
    optimizer, value = AdamW(config), rng.standard_normal(5)
    params = {"x": value.astype(np.float32)}
    first = second = np.zeros(5)
    for step in range(1, 4):
        grad = rng.standard_normal(5).astype(np.float32)
        params = optimizer.update(params, {"x": grad})
        first, second = 0.9 * first + 0.1 * grad, 0.999 * second + 0.001 * grad**2
        scaled = (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
        value = value - 0.1 * min(1, step / 2) * (scaled + 0.01 * value)
        assert np.allclose(params["x"], value, rtol=1e-5, atol=1e-6)


def test_clip_scales_to_the_limit_and_no_further(rng):
    grads = {"x": rng.standard_normal(9).astype(np.float32), "y": rng.standard_normal(3).astype(np.float32)}
    norm = global_norm(grads)
    assert np.isclose(global_norm(clip(grads, norm, norm / 3)), norm / 3, rtol=1e-5)
    assert clip(grads, norm, 0) is grads and clip(grads, norm, 2 * norm) is grads
