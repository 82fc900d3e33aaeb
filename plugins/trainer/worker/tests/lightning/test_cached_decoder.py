"""What is sampled with caches: transformers' own continuations, whatever the pieces and the company."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import torch

from builders import VOCAB
from hone_worker import lora
from hone_worker.config import LoraConfig
from hone_worker.engine_choice import open_engine
from hone_worker.lightning.cached_decoder import CachedDecoder
from hone_worker.lightning.library_decoder import LibraryDecoder
from hone_worker.lightning.row_caches import SHORTEST
from hone_worker.loading.model_files import open_model

WITH_CACHES = ["qwen3", "llama", "phi3", "granite"]
WITH_THE_LIBRARYS = ["mistral", "gemma2"]
ALL = WITH_CACHES + WITH_THE_LIBRARYS


def opened(folder, **options):  # noqa: ANN001, ANN003, ANN201
    """An engine with an adapter that is not in use, and numbers for it that change the logits."""
    engine = open_engine(open_model(str(folder), folder), options=options)
    adapter = lora.create(engine.linears, engine.layers, LoraConfig(rank=3, alpha=6, last_layers=3), seed=0)
    engine.adapt(adapter)
    return engine, [noisy(adapter.params, seed) for seed in (1, 2)]


def noisy(params, seed):  # noqa: ANN001, ANN201
    rng = np.random.default_rng(seed)
    return {name: value + 0.1 * rng.standard_normal(value.shape).astype(np.float32) for name, value in params.items()}


def ids_of(rng: np.random.Generator, count: int) -> list[int]:
    return rng.integers(2, VOCAB, count).tolist()


def reference(engine, params, ids) -> np.ndarray:  # noqa: ANN001
    """Logits after ids by the library's forward without any cache."""
    engine.model.use(params)
    with torch.no_grad():
        line = torch.tensor([ids])
        return engine.model.logits(line, torch.arange(len(ids))[None])[0, -1].numpy()


def test_decoder_is_chosen_by_what_the_model_needs(model_folders) -> None:  # noqa: ANN001
    made = {name: type(opened(model_folders[name])[0].decoder()) for name in ALL}
    assert made == {**dict.fromkeys(WITH_CACHES, CachedDecoder), **dict.fromkeys(WITH_THE_LIBRARYS, LibraryDecoder)}


@pytest.mark.parametrize("name", ALL)
def test_greedy_continuation_is_that_of_generate(model_folders, rng, name) -> None:  # noqa: ANN001
    engine, _ = opened(model_folders[name])
    prompts = [ids_of(rng, count) for count in (7, 40, 19)]
    decoder = engine.decoder()
    rows, new = [decoder.row() for _ in prompts], prompts
    said: list[list[int]] = [[] for _ in prompts]
    for _ in range(30):
        tokens = decoder.forward(rows, new, [True] * len(rows)).argmax(1).tolist()
        new = [[token] for token in tokens]
        for line, token in zip(said, tokens, strict=True):
            line.append(token)
    engine.model.use(None)
    for prompt, line in zip(prompts, said, strict=True):
        engine.model.module.config._attn_implementation = engine.model._library_attention
        made = engine.model.module.generate(
            torch.tensor([prompt]), max_new_tokens=30, do_sample=False, eos_token_id=None, pad_token_id=0)
        assert made[0, len(prompt) :].tolist() == line


@pytest.mark.parametrize("name", ALL)
def test_forward_agrees_with_the_plain_pass_in_any_pieces(model_folders, rng, name) -> None:  # noqa: ANN001
    """Prompts, chunks, shared prefixes and single tokens, mixed in every pass."""
    engine, (params, _) = opened(model_folders[name])
    decoder = engine.decoder()
    decoder.load(params)
    shared = ids_of(rng, 21)
    prefix = decoder.prefix(shared)
    texts = [shared[:], shared[:], [], [], shared[:], []]
    rows = [decoder.row(prefix if text else None) for text in texts]
    chunks = (17, 1, 40, 3, 5, 1), (1, 1, 1, 1, 1, 1), (1, 30, 1, 1, 2, 70), (1, 1, 1, 1, 1, 1), (9, 1, 1, 9, 1, 1)
    for counts in chunks:
        new = [ids_of(rng, count) for count in counts]
        for text, more in zip(texts, new, strict=True):
            text += more
        wanted = [True, False, True, True, True, True]
        logits = decoder.forward(rows, new, wanted)
        assert logits.dtype == np.float32
        expected = [reference(engine, params, text) for text, want in zip(texts, wanted, strict=True) if want]
        np.testing.assert_allclose(logits, expected, atol=2e-4)
    assert decoder.forward(rows[:2], [[5], [6]], [False, False]).shape[0] == 0


@pytest.mark.parametrize("name", ["llama", "mistral"])
def test_two_policies_take_turns(model_folders, rng, name) -> None:  # noqa: ANN001
    engine, policies = opened(model_folders[name])
    policies = [*policies, None]
    text = ids_of(rng, 12)
    expected = [reference(engine, params, text) for params in policies]
    decoders = [engine.decoder() for _ in policies]
    rows = []
    for decoder, params in zip(decoders, policies, strict=True):
        decoder.load(params)
        rows.append(decoder.row())
    seen = [decoder.forward([row], [text[:9]], [True]) for decoder, row in zip(decoders, rows, strict=True)]
    for token in text[9:]:
        seen = [decoder.forward([row], [[token]], [True]) for decoder, row in zip(decoders, rows, strict=True)]
    np.testing.assert_allclose([logits[0] for logits in seen], expected, atol=2e-4)
    assert np.abs(expected[0] - expected[1]).max() > 1e-2 and np.abs(expected[0] - expected[2]).max() > 1e-2
    one = decoders[0]
    again = []
    for params in (policies[1], policies[0], None):
        one.load(params)
        again.append(one.forward([one.row()], [text], [True])[0])
    np.testing.assert_allclose(again, [expected[1], expected[0], expected[2]], atol=2e-4)


def test_rows_come_and_go_without_a_trace(model_folders, rng) -> None:  # noqa: ANN001
    """Rows are dropped, idle ones lie between those that decode, others outgrow their bank."""
    engine, _ = opened(model_folders["llama"])
    decoder = engine.decoder()
    prefix = decoder.prefix(ids_of(rng, 20))
    shared = prefix
    rows = [decoder.row(shared) for _ in range(20)]
    reading = [ids_of(rng, 3 + 5 * (i % 4)) for i in range(20)]
    decoder.forward(rows, reading, [False] * 20)
    alone = [decoder.row(shared) for _ in range(20)]
    for i in range(20):
        decoder.forward([alone[i]], [reading[i]], [False])
    for step in range(SHORTEST):
        taken = [i for i in range(20) if (i * 7 + step) % 5 < 2 and rows[i] is not None]
        if step in (9, 10, 40):
            rows[taken.pop()] = None
        new = [[2 + (step * 13 + i) % 90] for i in taken]
        together = decoder.forward([rows[i] for i in taken], new, [True] * len(taken))
        apart = [decoder.forward([alone[i]], [ids], [True])[0] for i, ids in zip(taken, new, strict=True)]
        np.testing.assert_allclose(together, apart, atol=2e-4)
    assert max(row.length for row in rows if row) > 30


def test_a_fresh_row_beyond_the_bank_takes_the_slot_of_an_idle_one_which_keeps_its_tokens(model_folders, rng) -> None:  # noqa: ANN001
    engine, _ = opened(model_folders["llama"])
    decoder, texts = engine.decoder(), [ids_of(rng, 6) for _ in range(8)]
    rows = [decoder.row() for _ in texts]
    decoder.forward(rows, texts, [False] * 8)
    fresh = decoder.row()
    assert fresh.slot == 8 == len(fresh.bank.keys[0])
    decoder.forward([fresh], [[5]], [True])
    assert fresh.slot == 0
    for row, text in zip(rows, texts, strict=True):
        found = decoder.forward([row], [[7]], [True])[0]
        np.testing.assert_allclose(found, reference(engine, None, [*text, 7]), atol=2e-4)


def test_memory_of_rows_is_theirs_and_freed_with_them(model_folders, rng) -> None:  # noqa: ANN001
    engine, _ = opened(model_folders["llama"])
    decoder = engine.decoder()
    row = decoder.row()
    assert row.bytes == 0
    decoder.forward([row], [ids_of(rng, SHORTEST)], [False])
    token = 2 * engine.layers * 2 * 8 * 4  # keys and values, layers, heads, dimension, fp32
    assert SHORTEST * token <= row.bytes
    bank, others = row.bank, [decoder.row() for _ in range(7)]
    decoder.forward(others, [ids_of(rng, 4)] * 7, [False] * 7)
    assert sum(one.bytes for one in (row, *others)) == bank.bytes == 8 * SHORTEST * token
    decoder.forward([row], [[5]], [False])
    assert row.bank.room == 2 * SHORTEST and bank.taken == 7
    del others
    gc.collect()
    assert bank.bytes == 0 and not bank.keys
    bank = row.bank
    del row
    gc.collect()
    assert bank.bytes == 0


def test_what_is_sampled_has_the_logprobs_that_training_finds(model_folders, rng) -> None:  # noqa: ANN001
    engine, (params, _) = opened(model_folders["qwen3"])
    decoder = engine.decoder()
    decoder.load(params)
    shared, task = ids_of(rng, 30), ids_of(rng, 11)
    row, new, said, sampled = decoder.row(decoder.prefix(shared)), task, [], []
    for _ in range(40):
        logits = decoder.forward([row], [new], [True])[0].astype(np.float64)
        shares = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        new = [int(rng.choice(len(shares), p=shares))]
        said += new
        sampled.append(np.log(shares[new[0]]))
    found = engine.reference_logprobs(np.array(shared + task + said), params)[-40:]
    np.testing.assert_allclose(sampled, found, atol=1e-4)
