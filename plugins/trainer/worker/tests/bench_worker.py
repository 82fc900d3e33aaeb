"""Speed of the worker's fast layers on the built-in model: sampling, prefill and LoRA steps.

Run from plugins/trainer/worker: ``python tests/bench_worker.py [--cache DIR] [--repeat N]``.
The step is that of a small GRPO round: 6 groups of 8 rollouts behind one system prompt of 300
ids, with 60 ids of task and 60 sampled ids each, adapters of rank 8 on the last 10 layers.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import hone_worker.mlx  # noqa: E402, F401
import numpy as np  # noqa: E402

from hone_worker.config import LoraConfig, LossConfig, OptimConfig  # noqa: E402
from hone_worker.mlx import lora, model, train  # noqa: E402
from hone_worker.mlx.chat import ChatService  # noqa: E402
from hone_worker.mlx.decode import LlamaDecoder  # noqa: E402
from hone_worker.mlx.sampler import Sampler  # noqa: E402
from hone_worker.mlx.template import ChatTemplate  # noqa: E402
from hone_worker.trajectory import Trajectory, TurnRecord, to_rows  # noqa: E402


def batch(rng: np.random.Generator, groups: int, size: int, shared_task: bool) -> list[Trajectory]:
    """Random rollouts of the shape that the module describes."""

    def ids(count: int) -> list[int]:
        return rng.integers(20, 40000, count).tolist()

    system, out = ids(300), []
    for group in range(groups):
        task = ids(60)
        for member in range(size):
            prompt = system + (task if shared_task else ids(60))
            turn = TurnRecord(prompt, ids(60), (-8 + rng.standard_normal(60)).tolist())
            out.append(Trajectory(f"{group}-{member}", str(group), 0, float(rng.standard_normal()), 1.0, [turn]))
    return out


def bench_decoder(decoder: LlamaDecoder, rng: np.random.Generator, repeat: int) -> None:
    """Prompts of 60 to 150 ids behind a prefix of 300 read at once, then one token each a pass."""
    prefix = decoder.prefix(rng.integers(20, 40000, 300).tolist())
    for count in (1, 8, 32, 48):
        rows = [decoder.row(prefix) for _ in range(count)]
        prompts = [rng.integers(20, 40000, 60 + 90 * i // count).tolist() for i in range(count)]
        started = time.perf_counter()
        decoder.forward(rows, prompts, [True] * count)
        seconds, tokens = time.perf_counter() - started, sum(map(len, prompts))
        _print(f"sampler prefill, {count} rows", tokens=tokens, tokens_per_second=tokens / seconds)
        passes = []
        for _ in range(4 * repeat):
            started = time.perf_counter()
            decoder.forward(rows, [[5]] * count, [True] * count)
            passes.append(time.perf_counter() - started)
        median = statistics.median(passes)
        _print(f"decode, {count} rows", seconds=median, best=min(passes), tokens_per_second=count / median)


def bench_episodes(loaded: model.LoadedModel, decoder: LlamaDecoder, count: int) -> None:
    """Whole rollouts of three turns of 48 tokens behind one system prompt, through the service."""
    template = ChatTemplate(loaded.chat_template, loaded.encode, loaded.decode, loaded.eos_token_ids)
    sampler = Sampler(decoder, loaded.decode, [], count)
    service = ChatService(template, sampler, 1024)
    tools = " ".join(f"tool_{i}(path, text): does thing number {i} to a file." for i in range(15))

    def episode(index: int) -> None:
        messages = [{"role": "system", "content": tools}, {"role": "user", "content": f"Move file {index} to walnut."}]
        for turn in range(3):
            asked = {"messages": messages, "rollout": str(index), "seed": index * 10 + turn, "max_tokens": 48}
            reply = service.chat({**asked, "logprobs": True, "return_token_ids": True}).result()
            messages = [*messages, reply["choices"][0]["message"], {"role": "user", "content": "The tool said ok. " * 6}]

    started = time.perf_counter()
    with ThreadPoolExecutor(count) as pool:
        list(pool.map(episode, range(count)))
    seconds = time.perf_counter() - started
    _print(f"episodes, {count} at once", seconds=seconds, tokens_per_second=sampler.tokens / seconds)


def main() -> None:
    """Prints one JSON line a figure: tokens a second are of physical tokens."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cache", default=str(pathlib.Path.home() / ".cache" / "hone"))
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    started = time.perf_counter()
    loaded = model.load(model.BUILT_IN, options.cache)
    _print("load", seconds=time.perf_counter() - started)
    decoder = LlamaDecoder(loaded.fast)
    bench_decoder(decoder, rng, options.repeat)
    bench_episodes(loaded, decoder, 48)
    del decoder
    adapter = lora.create(loaded.module, LoraConfig(last_layers=10), 0)
    trainer = train.Trainer(loaded, adapter, OptimConfig(learning_rate=1e-4))
    rows = to_rows(batch(rng, 2, 8, False))
    _measure("prefill", options.repeat, lambda _: trainer.engine.run(trainer.engine.plan(rows), None), rows)
    for name, shared in (("grpo step, own tasks", False), ("grpo step, shared tasks", True)):
        trajectories = batch(rng, 6, 8, shared)
        config = LossConfig.from_json({"preset": "cispo"})
        step = lambda i, t=trajectories: trainer.train_step(trainer.step + 1, t, config)  # noqa: E731
        _measure(name, options.repeat, step, to_rows(trajectories))
    trajectories = batch(rng, 1, 8, False)
    supervise = lambda i: trainer.supervise(len(trainer.results) + 1, trajectories)  # noqa: E731
    _measure("supervise step of 8", options.repeat, supervise, to_rows(trajectories))


def _measure(name: str, repeat: int, work, rows) -> None:
    from hone_worker.packing import pack

    tree, seconds = pack(rows), []
    for index in range(repeat):
        started = time.perf_counter()
        work(index)
        seconds.append(time.perf_counter() - started)
    median = statistics.median(seconds)
    _print(
        name,
        seconds=median,
        best=min(seconds),
        physical_tokens=len(tree.ids),
        logical_tokens=tree.logical,
        tokens_per_second=len(tree.ids) / median,
    )


def _print(name: str, **figures: float) -> None:
    print(json.dumps({"figure": name, **{k: round(v, 3) for k, v in figures.items()}}), flush=True)


if __name__ == "__main__":
    main()
