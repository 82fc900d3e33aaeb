"""Makes trajectories and models for the tests."""

from __future__ import annotations

import json
import pathlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from hone_worker import lora, train
from hone_worker.checkpoint import TrainState
from hone_worker.config import LoraConfig, OptimConfig
from hone_worker.engine import Engine
from hone_worker.engine_choice import open_engine
from hone_worker.loading.model_files import ModelFiles, open_model
from hone_worker.rows import SCHEMA, Trajectory, TurnRecord

# How many ids the tiny models have.
VOCAB = 96
# Of tiny models, whatever their architecture.
SHAPE = {
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "intermediate_size": 48,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-5,
    "vocab_size": VOCAB,
    "max_position_embeddings": 512,
    "head_dim": 8,
    "tie_word_embeddings": True,
    "eos_token_id": 1,
    "rope_parameters": {"rope_theta": 5000.0, "rope_type": "default"},
}
# What differs from step to step that is otherwise the same.
MEASURED = ("seconds", "tokens_per_second", "memory_peak_bytes")
TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def write_tokenizer(folder: pathlib.Path) -> pathlib.Path:
    """Saves a tokenizer of single bytes with a chat template."""
    characters = sorted(pre_tokenizers.ByteLevel.alphabet())[: VOCAB - 2]
    vocab = {"<unk>": 0, "</s>": 1, **{c: i + 2 for i, c in enumerate(characters)}}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<unk>", "</s>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "</s>", "chat_template": TEMPLATE}))
    return folder


def trajectories(rng: np.random.Generator, groups: int = 2, size: int = 3, vocab: int = 96) -> list[Trajectory]:
    """Groups that share a long system prompt, then a task; two turns each, one forks. No model has these logprobs."""
    def ids(count: int) -> list[int]:
        return rng.integers(2, vocab, count).tolist()

    system, out = ids(40), []
    for group in range(groups):
        task = system + ids(20)
        for member in range(size):
            first = ids(int(rng.integers(3, 9)))
            second = ids(int(rng.integers(3, 9)))
            follow = task + first + ids(5) if member else task[:50] + ids(12)
            turns = [
                TurnRecord(task, first, (-4 + 0.3 * rng.standard_normal(len(first))).tolist()),
                TurnRecord(follow, second, (-4 + 0.3 * rng.standard_normal(len(second))).tolist()),
            ]
            advantage = float(rng.standard_normal())
            out.append(Trajectory(f"r{group}-{member}", f"g{group}", 1, advantage, 1.0, turns))
    return out


def write_batch(path: pathlib.Path, batch: list[Trajectory]) -> str:
    """Writes trajectories as hone does, and answers the path."""
    lines = [
        {
            "schema": SCHEMA,
            "rollout_id": t.rollout_id,
            "group_id": t.group_id,
            "policy_version": t.policy_version,
            "advantage": t.advantage,
            "weight": t.weight,
            "turns": [
                {
                    "prefix_len": 0,
                    "prompt_suffix_ids": turn.prompt_ids,
                    "output_ids": turn.output_ids,
                    "logprobs": turn.logprobs,
                }
                for turn in t.turns
            ],
        }
        for t in batch
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


def opened(
    folder: pathlib.Path, engine: str | None = None, options: dict[str, Any] | None = None
) -> tuple[ModelFiles, Engine]:
    """A model folder in an engine (None: the one that is chosen for it)."""
    files = open_model(str(folder), folder)
    return files, open_engine(files, engine, options=options)


@dataclass
class Training:
    """A model, what training made of it, and the steps that it can take."""

    engine: Any
    state: TrainState

    @property
    def params(self) -> dict[str, np.ndarray]:
        return self.state.adapter.params

    @params.setter
    def params(self, value: dict[str, np.ndarray]) -> None:
        self.state.adapter.params = value

    def supervise(self, *args: Any) -> dict[str, Any]:
        return train.supervise(self.engine, self.state, *args)

    def train_step(self, *args: Any) -> dict[str, Any]:
        return train.train_step(self.engine, self.state, *args)

    def sampled(self, batch: list[Trajectory], noise: float = 0.3) -> list[Trajectory]:
        """The batch as if a sampler had drawn it from this policy, whose logprobs differ by ``noise``."""
        rng, out = np.random.default_rng(11), []
        for trajectory, row in zip(batch, self.logprobs(batch)["rows"], strict=True):
            logprobs = iter((row["logprobs"] + noise * rng.standard_normal(len(row["logprobs"]))).tolist())
            turns = [replace(t, logprobs=[next(logprobs) for _ in t.output_ids]) for t in trajectory.turns]
            out.append(replace(trajectory, turns=turns))
        return out

    def logprobs(self, *args: Any) -> dict[str, Any]:
        return train.logprobs(self.engine, self.state, *args)


def training(
    folder: pathlib.Path,
    engine: str | None = None,
    noise: float = 0.1,
    options: dict[str, Any] | None = None,
    **optim: Any,
) -> Training:
    """Training on a model folder, with an adapter that already does something."""
    files, made = opened(folder, engine, options)
    adapter = lora.create(made.linears, made.layers, LoraConfig(rank=3, alpha=6, last_layers=2), seed=0)
    made.adapt(adapter)
    rng = np.random.default_rng(5)
    adapter.params = {
        name: value + noise * rng.standard_normal(value.shape).astype(np.float32) if name.endswith("b") else value
        for name, value in adapter.params.items()
    }
    adamw = train.new_optimizer(made, OptimConfig(**{"learning_rate": 1e-3, **optim}))
    return Training(made, TrainState(files.id, adapter, adamw))
