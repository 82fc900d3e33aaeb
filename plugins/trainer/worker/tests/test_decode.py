"""Both forward passes of the sampler against plain references, and against each other."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest

import builders
from hone_worker.config import LoraConfig, LossConfig
from hone_worker.mlx import lora, model, ops
from hone_worker.mlx.decode import LlamaDecoder
from hone_worker.mlx.decode_module import ModuleDecoder
from hone_worker.mlx.hidden import HiddenStore
from hone_worker.mlx.panels import Panels, Team, share

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
    weights = model.load(str(llama_folder), llama_folder).fast
    assert weights is not None
    check_passes(LlamaDecoder(weights, narrow), lambda ids: ops.logits(weights, np.array(ids))[-1], rng)


@pytest.mark.parametrize("rows_of", [(0, 0, 1), (0, 1, 2, 0, 1, 2, 0)])
def test_llama_decoder_keeps_groups_of_one_thread_apart(
    llama_folder: pathlib.Path, rng: np.random.Generator, rows_of: tuple[int, ...]
) -> None:
    weights = model.load(str(llama_folder), llama_folder).fast
    assert weights is not None
    decoder = LlamaDecoder(weights)
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
    loaded = model.load(str(llama_folder), llama_folder)
    assert loaded.fast is not None
    check_passes(
        ModuleDecoder(loaded.module), lambda ids: ops.logits(loaded.fast, np.array(ids))[-1], rng)


def test_load_serves_the_adapter_and_the_base_again(llama_folder: pathlib.Path, rng: np.random.Generator) -> None:
    loaded = model.load(str(llama_folder), llama_folder)
    assert loaded.fast is not None
    adapter = lora.create(loaded.module, LoraConfig(rank=3, alpha=6, last_layers=2), seed=0)
    params = {name: rng.standard_normal(value.shape).astype(np.float32) * 0.1 for name, value in adapter.params.items()}
    ids = ids_of(rng, 12)
    seen = []
    for decoder in (LlamaDecoder(loaded.fast), ModuleDecoder(loaded.module)):
        for use in (None, params, None):
            decoder.load(use, adapter.config.scale)
            seen.append(decoder.forward([decoder.row()], [ids], [True]).copy()[0])
    merged = loaded.fast.merged(params, adapter.config.scale)
    np.testing.assert_allclose(seen[1], ops.logits(merged, np.array(ids))[-1], atol=2e-4)
    assert np.abs(seen[1] - seen[0]).max() > 0.1
    assert (seen[2] == seen[0]).all() and (seen[5] == seen[3]).all()
    np.testing.assert_allclose(seen[4], seen[1], atol=2e-4)


def test_states_of_the_sampler_replace_the_trainers_frozen_layers(
    llama_folder: pathlib.Path, rng: np.random.Generator
) -> None:
    gradients = []
    for reuse in (False, True):
        trainer = builders.trainer(llama_folder)
        batch = builders.trajectories(np.random.default_rng(3))
        if reuse:
            decoder = LlamaDecoder(trainer.model.fast)
            decoder.states = trainer.engine.hidden = HiddenStore(trainer.adapter.first_layer, 32)
            for trajectory in batch:
                for turn in trajectory.turns:
                    row = decoder.row(decoder.prefix(turn.prompt_ids[:40]))
                    decoder.forward([row], [turn.prompt_ids[40:]], [True])
                    for token in turn.output_ids:
                        decoder.forward([row], [[token]], [True])
            spoiled = trainer.model.fast.layers[0].qkv
            before = spoiled.copy()
            spoiled[...] = np.nan  # the trainer must not need the layers below
        gradients.append(trainer.train_step(1, batch, LossConfig())["grad_norm"])
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
