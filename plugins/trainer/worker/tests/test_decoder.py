"""Both forward passes of the sampler against plain references, and against each other."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest

import builders
from hone_worker.config import LoraConfig, LossConfig
from hone_worker import lora
from hone_worker.cpu_llama import ops
from hone_worker.cpu_llama.decoder import LlamaDecoder
from hone_worker.cpu_llama.hidden_states import HiddenStates
from hone_worker.cpu_llama.panels import Panels
from hone_worker.cpu_llama.threads import Team, share

VOCAB = 96


def ids_of(rng: np.random.Generator, count: int) -> list[int]:
    return rng.integers(2, VOCAB, count).tolist()


def check_passes(decoder, reference, rng: np.random.Generator) -> None:  # noqa: ANN001
    """Prompts, chunks, shared prefixes and single tokens, mixed in every pass."""
    prefix_ids = ids_of(rng, 21)
    prefix = decoder.prefix(prefix_ids)
    texts = [prefix_ids[:], prefix_ids[:], [], [], prefix_ids[:]]
    rows = [decoder.row(prefix if text else None) for text in texts]
    for counts in ((17, 1, 40, 3, 5), (1, 1, 1, 1, 1), (1, 30, 1, 1, 2), (1, 1, 1, 1, 1)):
        new = [ids_of(rng, count) for count in counts]
        for text, more in zip(texts, new, strict=True):
            text += more
        wanted = [True, False, True, True, True]
        logits = decoder.forward(rows, new, wanted)
        expected = [reference(text) for text, want in zip(texts, wanted, strict=True) if want]
        np.testing.assert_allclose(logits, expected, atol=2e-4)


@pytest.mark.parametrize("narrow", [True, False])
def test_llama_decoder_agrees_with_the_plain_pass(
    llama_folder: pathlib.Path, rng: np.random.Generator, narrow: bool
) -> None:
    weights = builders.opened(llama_folder)[1].weights
    check_passes(LlamaDecoder(weights, 1.0, narrow), lambda ids: ops.logits(weights, np.array(ids))[-1], rng)


@pytest.mark.parametrize("rows_of", [(0, 0, 1), (0, 1, 2, 0, 1, 2, 0)])
def test_llama_decoder_keeps_groups_of_one_thread_apart(
    llama_folder: pathlib.Path, rng: np.random.Generator, rows_of: tuple[int, ...]
) -> None:
    weights = builders.opened(llama_folder)[1].weights
    decoder = LlamaDecoder(weights, 1.0)
    shared = [ids_of(rng, 30), [], ids_of(rng, 20)]
    prefixes = [decoder.prefix(ids) if ids else None for ids in shared]
    rows, texts = [decoder.row(prefixes[i]) for i in rows_of], [list(shared[i]) for i in rows_of]
    for _ in range(4):
        new = [ids_of(rng, 1) for _ in rows]
        for text, more in zip(texts, new, strict=True):
            text += more
        expected = [ops.logits(weights, np.array(text))[-1] for text in texts]
        np.testing.assert_allclose(decoder.forward(rows, new, [True] * len(rows)), expected, atol=2e-4)


def test_module_decoder_agrees_with_the_plain_pass(llama_folder: pathlib.Path, rng: np.random.Generator) -> None:
    weights = builders.opened(llama_folder)[1].weights
    decoder = builders.opened(llama_folder, "mlx")[1].decoder()
    check_passes(decoder, lambda ids: ops.logits(weights, np.array(ids))[-1], rng)


def test_load_serves_the_adapter_and_the_base_again(llama_folder: pathlib.Path, rng: np.random.Generator) -> None:
    engines = [builders.opened(llama_folder, name)[1] for name in ("cpu_llama", "mlx")]
    adapter = lora.create(engines[0].linears, 4, LoraConfig(rank=3, alpha=6, last_layers=2), seed=0)
    params = {name: rng.standard_normal(value.shape).astype(np.float32) * 0.1 for name, value in adapter.params.items()}
    ids = ids_of(rng, 12)
    seen = []
    for engine in engines:
        engine.adapt(adapter)
        decoder = engine.decoder()
        for use in (None, params, None):
            decoder.load(use)
            seen.append(decoder.forward([decoder.row()], [ids], [True]).copy()[0])
    weights = engines[0].weights
    merged = weights.merged(params, adapter.config.scale)
    np.testing.assert_allclose(seen[1], ops.logits(merged, np.array(ids))[-1], atol=2e-4)
    assert np.abs(seen[1] - seen[0]).max() > 0.1
    assert (seen[2] == seen[0]).all() and (seen[5] == seen[3]).all()
    np.testing.assert_allclose(seen[4], seen[1], atol=2e-4)


def test_the_engines_have_the_same_linears(llama_folder: pathlib.Path) -> None:
    cpu, mlx = (builders.opened(llama_folder, name)[1] for name in ("cpu_llama", "mlx"))
    assert len(cpu.linears) == 28 and cpu.linears == mlx.linears
    assert (cpu.layers, cpu.parameters, cpu.vocab_size) == (mlx.layers, mlx.parameters, mlx.vocab_size)


def test_a_decoder_keeps_its_policy_while_a_step_runs_in_the_same_module(
    llama_folder: pathlib.Path, rng: np.random.Generator
) -> None:
    training = builders.training(llama_folder, "mlx")
    decoder, ids = training.engine.decoder(), ids_of(rng, 12)
    before = decoder.forward([decoder.row()], [ids], [True]).copy()
    training.train_step(1, training.sampled(builders.trajectories(rng)), LossConfig(), 0.05)
    np.testing.assert_array_equal(decoder.forward([decoder.row()], [ids], [True]), before)
    decoder.load(training.params)
    assert np.abs(decoder.forward([decoder.row()], [ids], [True]) - before).max() > 1e-3


def test_states_of_the_sampler_replace_the_trainers_frozen_layers(
    llama_folder: pathlib.Path, rng: np.random.Generator
) -> None:
    gradients = []
    for reuse in (False, True):
        training = builders.training(llama_folder)
        batch = training.sampled(builders.trajectories(np.random.default_rng(3)))
        if reuse:
            training.engine.hidden = HiddenStates(training.state.adapter.first_layer, 32)
            decoder = training.engine.decoder()
            for trajectory in batch:
                for turn in trajectory.turns:
                    row = decoder.row(decoder.prefix(turn.prompt_ids[:40]))
                    decoder.forward([row], [turn.prompt_ids[40:]], [True])
                    for token in turn.output_ids:
                        decoder.forward([row], [[token]], [True])
            spoiled = training.engine.weights.layers[0].qkv
            before = spoiled.copy()
            spoiled[...] = np.nan  # the training must not need the layers below
        gradients.append(training.train_step(1, batch, LossConfig())["grad_norm"])
        if reuse:
            spoiled[...] = before
    assert gradients[1] == pytest.approx(gradients[0], rel=1e-4)


@pytest.mark.parametrize(("narrow", "rows"), [(True, 5), (True, 16), (True, 96), (False, 48)])
def test_panels_multiply_like_the_whole(rng: np.random.Generator, narrow: bool, rows: int) -> None:
    weight = rng.standard_normal((192, 72)).astype(np.float32)
    x = rng.standard_normal((rows, 72)).astype(np.float32)
    panels, out = Panels(weight, 2, narrow), np.full((rows, 192), np.nan, np.float32)
    columns = [panels.multiply(x, out, share(panels.count, part, 2)) for part in range(2)]
    assert columns[0].stop == columns[1].start
    np.testing.assert_allclose(out, x @ weight.T, atol=1e-4)


def test_team_raises_what_a_helper_raised() -> None:
    team = Team(3)

    def work(part: int) -> None:
        if part == 2:
            raise ValueError("part 2")

    with pytest.raises(ValueError, match="part 2"):
        team.run(work)
    seen: list[int] = []
    team.run(seen.append)
    assert sorted(seen) == [0, 1, 2]
    team.close()
