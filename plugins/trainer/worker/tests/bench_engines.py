"""Speed of an engine on the built-in model: sampling, reading, supervised and RL steps.

Run by tests/bench/engines.ts, or from plugins/trainer/worker: ``python tests/bench_engines.py ENGINE [--cache DIR]
[--repeat N]``. Prints one JSON object a figure; tokens per second are of the tokens that the rows have, and for
steps also of those that were computed (shared ids count once).

The RL step is that of a small GRPO round: groups of 8 rollouts behind one system prompt of 300 ids, with 60 ids of
task and 60 sampled ids each, adapters of rank 8 on the last 10 layers. ``mlx`` shares nothing between rows and
runs on a CPU here, so its share of the work is smaller.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import numpy as np  # noqa: E402

from hone_worker import lora, train  # noqa: E402
from hone_worker.chat_template import ChatTemplate  # noqa: E402
from hone_worker.checkpoint import TrainState  # noqa: E402
from hone_worker.config import LoraConfig, LossConfig, OptimConfig  # noqa: E402
from hone_worker.endpoint.chat_service import ChatService  # noqa: E402
from hone_worker.endpoint.sampler import Sampler  # noqa: E402
from hone_worker.engine import Decoder, Engine  # noqa: E402
from hone_worker.engine_choice import open_engine  # noqa: E402
from hone_worker.loading.built_in import BUILT_IN  # noqa: E402
from hone_worker.loading.model_files import ModelFiles, open_model  # noqa: E402
from hone_worker.rows import Trajectory, TurnRecord, to_rows  # noqa: E402

# Rows that decode at once, rollouts that play at once, and groups of a step, by engine.
DECODED = {"cpu_llama": (1, 8, 32, 48), "mlx": (1, 8), "lightning": (1, 8, 32, 48)}
PLAYED = {"cpu_llama": 48, "mlx": 4, "lightning": 48}
GROUPS = {"cpu_llama": 6, "mlx": 1, "lightning": 6}


class Bench:
    """One engine's figures."""

    def __init__(self, files: ModelFiles, engine: Engine, repeat: int) -> None:
        self.files, self.engine, self.repeat = files, engine, repeat
        self.rng = np.random.default_rng(0)

    def run(self) -> None:
        adapter = lora.create(self.engine.linears, self.engine.layers, LoraConfig(last_layers=10), 0)
        self.engine.adapt(adapter)
        decoder = self.engine.decoder()
        self.decoding(decoder)
        self.episodes(decoder, PLAYED[self.engine.name])
        del decoder
        optimizer = train.new_optimizer(self.engine, OptimConfig(learning_rate=1e-4))
        self.steps(TrainState(self.files.id, adapter, optimizer))

    def decoding(self, decoder: Decoder) -> None:
        """Prompts of 60 to 150 ids behind a prefix of 300 read at once, then one token each a pass."""
        prefix = decoder.prefix(self.ids(300))
        for count in DECODED[self.engine.name]:
            rows = [decoder.row(prefix) for _ in range(count)]
            prompts = [self.ids(60 + 90 * i // count) for i in range(count)]
            started = time.perf_counter()
            decoder.forward(rows, prompts, [True] * count)
            self.say(f"prefill, {count} rows", [time.perf_counter() - started], tokens=sum(map(len, prompts)))
            passes = self.timed(4 * self.repeat, lambda: decoder.forward(rows, [[5]] * count, [True] * count))
            self.say(f"decode, {count} rows", passes, tokens=count)

    def episodes(self, decoder: Decoder, count: int) -> None:
        """Whole rollouts of three turns of 48 tokens behind one system prompt, through the service."""
        template = ChatTemplate(
            self.files.chat_template, self.files.encode, self.files.decode, self.files.eos_token_ids)
        sampler = Sampler(decoder, self.files.decode, [], count)
        service = ChatService(template, sampler, 1024)
        tools = " ".join(f"tool_{i}(path, text): does thing number {i} to a file." for i in range(15))

        def episode(index: int) -> None:
            task = {"role": "user", "content": f"Move file {index} to walnut."}
            messages = [{"role": "system", "content": tools}, task]
            for turn in range(3):
                asked = {"messages": messages, "rollout": str(index), "seed": index * 10 + turn, "max_tokens": 48}
                said = service.chat(asked).result()["choices"][0]["message"]
                messages = [*messages, said, {"role": "user", "content": "The tool said ok. " * 6}]

        started = time.perf_counter()
        with ThreadPoolExecutor(count) as pool:
            list(pool.map(episode, range(count)))
        self.say(f"episodes, {count} at once", [time.perf_counter() - started], tokens=sampler.tokens)

    def steps(self, state: TrainState) -> None:
        engine, config = self.engine, LossConfig.from_json({"preset": "cispo"})
        few, many = self.batch(1), self.batch(GROUPS[engine.name])
        plan = engine.plan(to_rows(few))
        self.step("forward pass, 8 rows", few, lambda _: engine.run(plan, None))
        self.step("supervised step, 8 rows", few, lambda i: train.supervise(engine, state, i, few))
        rows = f"RL step, {len(many)} rows"
        self.step(rows, many, lambda i: train.train_step(engine, state, i, many, config))

    def step(self, name: str, batch: list[Trajectory], work: Callable[[int], object]) -> None:
        numbers = iter(range(1, self.repeat + 1))
        seconds = self.timed(self.repeat, lambda: work(next(numbers)))
        plan = self.engine.plan(to_rows(batch))
        self.say(name, seconds, tokens=plan.tree.logical, computed=plan.physical)

    def batch(self, groups: int, size: int = 8) -> list[Trajectory]:
        """Random rollouts of the shape that the module describes."""
        system, out = self.ids(300), []
        for group in range(groups):
            for member in range(size):
                turn = TurnRecord(system + self.ids(60), self.ids(60))
                advantage = float(self.rng.standard_normal())
                out.append(Trajectory(f"{group}-{member}", str(group), 0, advantage, 1.0, [turn]))
        return out

    def ids(self, count: int) -> list[int]:
        return self.rng.integers(20, 40000, count).tolist()

    @staticmethod
    def timed(repeat: int, work: Callable[[], object]) -> list[float]:
        seconds = []
        for _ in range(repeat):
            started = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - started)
        return seconds

    def say(self, figure: str, seconds: list[float], tokens: int, computed: int | None = None) -> None:
        median = statistics.median(seconds)
        rates = {"tokens_per_second": tokens / median}
        if computed is not None:
            rates["computed_tokens_per_second"] = computed / median
        times = {"seconds": median, "best": min(seconds)}
        rounded = {name: round(value, 3 if name in times else 1) for name, value in {**times, **rates}.items()}
        print(json.dumps({"engine": self.engine.name, "figure": figure, **rounded}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("engine", choices=sorted(GROUPS))
    parser.add_argument("--cache", default=str(pathlib.Path.home() / ".cache" / "hone"))
    parser.add_argument("--repeat", type=int, default=2)
    options = parser.parse_args()
    started = time.perf_counter()
    files = open_model(BUILT_IN, options.cache)
    engine = open_engine(files, options.engine)
    seconds = round(time.perf_counter() - started, 3)
    print(json.dumps({"engine": options.engine, "figure": "load", "seconds": seconds}), flush=True)
    Bench(files, engine, options.repeat).run()


if __name__ == "__main__":
    main()
