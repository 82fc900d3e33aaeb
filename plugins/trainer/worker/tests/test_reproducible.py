"""What a request is answered with depends on nothing but itself, to the last bit.

Each test compares bits: of what a row gets alone, token by token, with what it gets in pieces of any size, among
rows of other lengths and prefixes that come and go, and after its keys and values had to be computed again.
"""

from __future__ import annotations

import pathlib
import random
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import builders
from hone_worker.chat_template import ChatTemplate
from hone_worker.cpu_llama import attention, panels
from hone_worker.cpu_llama.decoder import LlamaDecoder
from hone_worker.cpu_llama.weights import LlamaLayer, LlamaWeights
from hone_worker.endpoint import sampler as sampling
from hone_worker.endpoint.chat_service import ChatService
from hone_worker.endpoint.sampler import Generation, Job, Sampler

# The built-in model's shape but for its depth and its vocabulary, and shapes with other numbers of heads.
SHAPES = {
    "smollm2": {"hidden": 576, "heads": 9, "kv_heads": 3, "head_dim": 64, "inner": 1536},
    "no groups": {"hidden": 96, "heads": 3, "kv_heads": 3, "head_dim": 32, "inner": 160},
    "odd heads": {"hidden": 80, "heads": 4, "kv_heads": 2, "head_dim": 20, "inner": 48},
    "groups of eight": {"hidden": 256, "heads": 16, "kv_heads": 2, "head_dim": 16, "inner": 320},
    "wide": {"hidden": 96, "heads": 3, "kv_heads": 1, "head_dim": 32, "inner": 2400},
}


def weights(shape: dict[str, int], layers: int = 2, vocab: int = 512, context: int = 1024) -> LlamaWeights:
    rng = np.random.default_rng(1)

    def matrix(outer: int, inner: int) -> np.ndarray:
        return (rng.standard_normal((outer, inner)) / np.sqrt(inner)).astype(np.float32)

    hidden, d, inner = shape["hidden"], shape["head_dim"], shape["inner"]
    blocks = tuple(
        LlamaLayer(
            input_norm=1 + 0.1 * matrix(1, hidden)[0],
            qkv=3 * matrix((shape["heads"] + 2 * shape["kv_heads"]) * d, hidden),
            out=matrix(hidden, shape["heads"] * d),
            post_norm=1 + 0.1 * matrix(1, hidden)[0],
            gate_up=matrix(2 * inner, hidden),
            down=matrix(hidden, inner),
        )
        for _ in range(layers)
    )
    angles = np.arange(context)[:, None] * 10000.0 ** (-np.arange(d // 2) / (d // 2))[None]
    embed = rng.standard_normal((vocab, hidden)).astype(np.float32)
    return LlamaWeights(
        **shape, eps=1e-5, embed=embed, head=4 * matrix(vocab, hidden), norm=np.ones(hidden, np.float32),
        cos=np.cos(angles).astype(np.float32), sin=np.sin(angles).astype(np.float32), layers=blocks)


class Neighbours:
    """Rows of other prefixes and lengths, of which some come and go at every pass, and some read."""

    def __init__(self, decoder: LlamaDecoder, count: int, seed: int) -> None:
        self.decoder, self.count, self.draw = decoder, count, random.Random(seed)
        self.prefixes = [None, *(decoder.prefix(self.ids(size)) for size in (5, 40))]
        self.rows: list = []

    def ids(self, count: int) -> list[int]:
        return [self.draw.randrange(2, 500) for _ in range(count)]

    def around(self, row: object, new: Sequence[int]) -> tuple[list, list, int]:
        """Rows and their new ids with ``row`` somewhere among them; and where."""
        self.rows = [one for one in self.rows if self.draw.random() < 0.8 and one.length < 600]
        while len(self.rows) < self.count:
            self.rows.append(self.decoder.row(self.draw.choice(self.prefixes)))
        news = [self.ids(self.draw.choice((1, 1, 1, 1, 2, 19, 70))) for _ in self.rows]
        place = self.draw.randrange(len(self.rows) + 1)
        return [*self.rows[:place], row, *self.rows[place:]], [*news[:place], list(new), *news[place:]], place


def logits(decoder: LlamaDecoder, prefix: object, pieces: Sequence[Sequence[int]], beside: Neighbours | None = None):
    """What a row is told after each piece, keyed by how many ids it had read."""
    row, told, read = decoder.row(prefix), {}, 0
    for piece in pieces:
        rows, news, place = beside.around(row, piece) if beside else ([row], [list(piece)], 0)
        read += len(piece)
        told[read] = decoder.forward(rows, news, [True] * len(rows))[place].tobytes()
    return told


def cut(ids: list[int], size: int) -> list[list[int]]:
    return [ids[at : at + size] for at in range(0, len(ids), size)]


@pytest.mark.parametrize("small_kernels", [None, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_logits_are_the_same_alone_in_pieces_and_among_others(shape: str, small_kernels: bool | None) -> None:
    decoder = LlamaDecoder(weights(SHAPES[shape]), 1.0, small_kernels)
    draw = random.Random(0)
    for shared, size in ((0, 90), (3, 400), (300, 40)):
        ids = [draw.randrange(2, 500) for _ in range(shared + size)]
        prefix = decoder.prefix(ids[:shared]) if shared else None
        own = ids[shared:]
        alone = logits(decoder, prefix, cut(own, 1))
        for pieces in (cut(own, 7), cut(own, 64), [own], [own[:-9], *cut(own[-9:], 1)]):
            for at, told in logits(decoder, prefix, pieces).items():
                assert told == alone[at], (shared, at)
        for count in (1, 3, 16, 40):
            some = own[: 60 if count in (1, 16) else size]
            again = logits(decoder, prefix, [some[:-12], *cut(some[-12:], 1)], Neighbours(decoder, count, count))
            assert again == {at: alone[at] for at in again}, (shared, count)


def test_a_prefix_is_the_same_whatever_was_computed_before_it() -> None:
    decoder, other = (LlamaDecoder(weights(SHAPES["smollm2"]), 1.0) for _ in range(2))
    ids = [random.Random(4).randrange(2, 500) for _ in range(70)]
    first = decoder.prefix(ids)
    logits(decoder, None, [ids[5:], ids[:9]], Neighbours(decoder, 9, 1))
    for again in (decoder.prefix(ids), other.prefix(ids)):
        assert again.keys.tobytes() == first.keys.tobytes() and again.values.tobytes() == first.values.tobytes()


def test_products_that_depend_on_a_rows_place_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def product(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
        out = np.tile(x[:1] @ weight, (len(x), 1))
        out[6:] += np.float32(1e-3)  # as kernels do that take six rows at a time
        return out

    monkeypatch.setattr(panels, "_product", product)
    assert panels.adds_in_one_order.__wrapped__(48, 32, (2, 6))
    assert not panels.adds_in_one_order.__wrapped__(48, 32, (2, 6, 7))


def sampled(sampler: Sampler, prompts: Sequence[tuple[list[int], int]], together: bool) -> list[tuple]:
    """Answers to prompts (ids, how many of them are shared), one at a time or all at once."""
    answers: dict[int, Generation | Exception] = {}
    some = threading.Condition()

    def ask(index: int) -> None:
        ids, shared = prompts[index]

        def answered(result: Generation | Exception) -> None:
            with some:
                answers[index] = result
                some.notify()

        way = {"temperature": (1.0, 0.7, 0.0)[index % 3], "top_p": (1.0, 1.0, 1.0, 0.8)[index % 4]}
        sampler.submit(Job(ids, ids[:shared], 5 + 7 * (index % 4), index, answered, lambda: False, **way))

    with some:
        for index in range(len(prompts)):
            ask(index)
            # Together: so that they join at different passes.
            some.wait_for(lambda want=0 if together else index + 1: len(answers) >= want)
            if together and index % 5 == 0:
                some.wait(0.003)
        some.wait_for(lambda: len(answers) == len(prompts))
    made = [answers[index] for index in range(len(prompts))]
    assert all(isinstance(one, Generation) for one in made), made
    return [(one.ids, one.logprobs) for one in made]


def test_requests_are_answered_alike_alone_and_together() -> None:
    draw = random.Random(7)
    systems = [[draw.randrange(2, 500) for _ in range(size)] for size in (120, 30)]
    prompts = []
    for index in range(40):
        system = systems[index % 2]
        own = [draw.randrange(2, 500) for _ in range(draw.choice((1, 3, 20, 90, 400)))]
        prompts.append((system + own, 0 if index % 7 == 0 else len(system)))
    answers = []
    for together in (False, True):
        decoder = LlamaDecoder(weights(SHAPES["smollm2"]), 1.0)
        answers.append(sampled(Sampler(decoder, lambda ids: "", [], 24), prompts, together))
    assert answers[0] == answers[1]


@pytest.mark.parametrize("kv_bytes", [1 << 30, 1])
def test_rollouts_are_answered_alike_alone_and_together_and_when_their_keys_were_evicted(
    llama_folder: pathlib.Path, kv_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "MAX_PREFIXES", 2)
    files, engine = builders.opened(llama_folder)
    template = ChatTemplate(files.chat_template, files.encode, files.decode, files.eos_token_ids)

    def play(together: bool) -> list[list[tuple]]:
        sampler = Sampler(engine.decoder(), files.decode, [], 8, kv_bytes=kv_bytes if together else 1 << 30)
        service = ChatService(template, sampler, files.context_tokens)

        def rollout(index: int) -> list[tuple]:
            system = f"you are number {index % 4} of the helpers and do as you are told"
            messages, turns = [{"role": "system", "content": system}, {"role": "user", "content": f"go {index}"}], []
            for turn in range(3):
                body = {"messages": messages, "rollout": str(index), "seed": 10 * index + turn, "max_tokens": 9 + index}
                reply = service.chat({**body, "logprobs": True, "return_token_ids": True}).result(60)
                choice = reply["choices"][0]
                said = [item["logprob"] for item in choice["logprobs"]["content"]]
                turns.append((reply["prompt_token_ids"], choice["token_ids"], said))
                messages = [*messages, choice["message"], {"role": "tool", "content": "ok " * (1 + index % 5)}]
            return turns

        with ThreadPoolExecutor(16 if together else 1) as pool:
            return list(pool.map(rollout, range(16)))

    assert play(together=True) == play(together=False)


def test_sums_do_not_depend_on_what_they_are_padded_with() -> None:
    rng = np.random.default_rng(0)
    scores = rng.standard_normal((2, 3, 2, 65)).astype(np.float32)
    expected = attention._exponentials(scores.copy(), None)
    for blocks in range(1, 20):
        padded = np.full((2, 3, 2, 65 + blocks * attention.SUM_BLOCK), -np.inf, np.float32)
        padded[..., :64], padded[..., -1] = scores[..., :64], scores[..., -1]
        one = padded[:1, :1, :1].copy()
        assert attention._exponentials(padded, None).tobytes() == expected.tobytes(), blocks
        assert attention._exponentials(one, None).tobytes() == expected[:1, :1, :1].tobytes(), blocks
