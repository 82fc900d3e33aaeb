"""TRL's side: a GRPOTrainer whose rollouts are given instead of sampled; everything from the forward on is its own.

``python trl_side.py FOLDER DEVICE PRECISION CONFIGURATION``; see ``compare`` for the configuration. The first command,
``adapter``, names the PEFT folder to train; then ``settle`` and ``step``.

``_generate_and_score_completions`` is what is replaced. It answers what TRL's own answers: the whole step's prompts
padded on the left and completions padded on the right to the step's longest, with the mask of tool results. A row's
prompt is what precedes its first sampled id.
"""

from __future__ import annotations

import json
import pathlib
import sys
import tempfile
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent))

import torch  # noqa: E402
import trl.trainer.utils as trl_utils  # noqa: E402
from datasets import Dataset  # noqa: E402
from peft import PeftModel  # noqa: E402
from side import Channel, Clock, Memory  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback  # noqa: E402
from trl import GRPOConfig, GRPOTrainer  # noqa: E402

from hone_side import RATE  # noqa: E402
from hone_worker.rows import Row, read_batch, to_rows  # noqa: E402


def padded(rows: list[Row], device: str) -> dict[str, torch.Tensor]:
    """The rows as GRPOTrainer holds a generation batch."""
    firsts = [int(row.mask.argmax()) for row in rows]
    prompt, completion = max(firsts), max(len(row.ids) - first for row, first in zip(rows, firsts, strict=True))
    shape = {"prompt": (len(rows), prompt), "completion": (len(rows), completion)}
    out = {f"{part}_{what}": torch.zeros(shape[part], dtype=torch.long) for part in shape for what in ("ids", "mask")}
    out["tool_mask"] = torch.zeros(shape["completion"], dtype=torch.long)
    out["old_per_token_logps"] = torch.zeros(shape["completion"])
    for i, (row, first) in enumerate(zip(rows, firsts, strict=True)):
        rest = len(row.ids) - first
        out["prompt_ids"][i, prompt - first :] = torch.from_numpy(row.ids[:first])
        out["prompt_mask"][i, prompt - first :] = 1
        out["completion_ids"][i, :rest] = torch.from_numpy(row.ids[first:])
        out["completion_mask"][i, :rest] = 1
        out["tool_mask"][i, :rest] = torch.from_numpy(row.mask[first:])
        out["old_per_token_logps"][i, :rest] = torch.from_numpy(row.logprobs[first:]).nan_to_num()
    out["advantages"] = torch.tensor([row.advantage for row in rows])
    out["num_items_in_batch"] = torch.tensor(int(sum(row.mask.sum() for row in rows)))
    return {name: value.to(device) for name, value in out.items()}


def trimmed(inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A micro-batch without the columns that are padding in all of its rows."""
    prompt = int(inputs["prompt_mask"].any(0).sum())
    completion = int(inputs["completion_mask"].any(0).sum())
    cut = {name: inputs[name][:, inputs[name].shape[1] - prompt :] for name in ("prompt_ids", "prompt_mask")}
    for name in ("completion_ids", "completion_mask", "tool_mask", "old_per_token_logps"):
        cut[name] = inputs[name][:, :completion]
    return {**inputs, **cut}


class Given(GRPOTrainer):
    """GRPOTrainer on ``self.step``, a generation batch; ``loss`` and ``norm`` of the step are kept."""

    step: dict[str, torch.Tensor]
    trim: bool = False
    loss: torch.Tensor | float = 0.0
    norm: float = 0.0

    def _generate_and_score_completions(self, inputs: list[Any]) -> dict[str, Any]:
        return self.step

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        inputs = super()._prepare_inputs(generation_batch)
        return trimmed(inputs) if self.trim else inputs

    def compute_loss(self, *arguments: Any, **named: Any) -> torch.Tensor:
        loss = super().compute_loss(*arguments, **named)
        self.loss = self.loss + loss.detach()
        return loss

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        self.norm = super()._get_grad_norm(model, grad_norm)
        return self.norm


class Commands(TrainerCallback):
    """Holds the trainer before each step until the other end asks for it, and answers after it."""

    def __init__(self, channel: Channel, device: str) -> None:
        self.channel, self.device, self.memory = channel, device, Memory(device)
        self.trainer: Given
        self.clock: Clock

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        while (command := self.channel.next()) is not None and command["do"] == "settle":
            self.channel.answer(bytes=self.memory.settle())
        if command is None:
            raise SystemExit
        self.trainer.step = padded(to_rows(read_batch(command["batch"])), self.device)
        self.trainer.loss = 0.0
        self.memory.reset()
        self.clock = Clock(self.device)

    def on_step_end(self, *_: Any, **__: Any) -> None:
        time, peak = self.clock.read(), self.memory.peak()
        self.channel.answer(**time, loss=float(self.trainer.loss), grad_norm=float(self.trainer.norm), peak=peak)


def options(configuration: dict[str, Any], device: str, precision: str, scratch: str) -> GRPOConfig:
    """TRL's defaults but for what both sides are given: the dapo loss, AdamW and clipping."""
    rows, each = configuration["rows"], configuration["batch"] or configuration["rows"]
    return GRPOConfig(
        output_dir=scratch,
        per_device_train_batch_size=each,
        gradient_accumulation_steps=rows // each,
        num_generations=8,
        gradient_checkpointing=configuration["checkpointing"],
        max_steps=10_000,
        learning_rate=RATE,
        lr_scheduler_type="constant",
        weight_decay=0.0,
        max_grad_norm=1.0,
        loss_type="dapo",
        beta=0.0,
        epsilon=0.2,
        epsilon_high=0.28,
        bf16=precision == "bf16",
        use_cpu=device == "cpu",
        report_to="none",
        logging_strategy="no",
        save_strategy="no",
        disable_tqdm=True,
    )


def main() -> None:
    folder, device, precision, configuration = sys.argv[1:5]
    channel, chosen = Channel(), json.loads(configuration)
    if chosen.get("compact"):
        # What TRL does where it has Triton: the head over trained positions only.
        trl_utils._use_triton = lambda _: True
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="sdpa").to(device)
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    channel.answer()
    command = channel.next()
    if command is None:
        return
    model = PeftModel.from_pretrained(model, command["folder"], is_trainable=True)
    commands = Commands(channel, device)
    with tempfile.TemporaryDirectory() as scratch:
        trainer = Given(
            model=model,
            reward_funcs=[lambda completions, **_: [0.0] * len(completions)],
            args=options(chosen, device, precision, scratch),
            train_dataset=Dataset.from_dict({"prompt": ["x"] * chosen["rows"]}),
            processing_class=tokenizer,
            callbacks=[commands],
        )
        trainer.trim, commands.trainer = chosen.get("trim", False), trainer
        channel.answer()
        trainer.train()


if __name__ == "__main__":
    main()
