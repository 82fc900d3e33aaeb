"""hone's side: the worker's own ``train_step`` on its engine of this environment.

``python hone_side.py FOLDER DEVICE PRECISION CACHE [ENGINE_OPTIONS]``; commands: ``adapter`` (writes it in PEFT's
layout, for the other side to train or for a sampler to serve), ``logprobs``, ``settle``, ``watch`` (forward and
backward passes are timed from here on), ``step``.
"""

from __future__ import annotations

import functools
import json
import pathlib
import sys
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent))

import numpy as np  # noqa: E402
from side import Channel, Clock, Memory  # noqa: E402

from hone_worker import checkpoint, lora, train  # noqa: E402
from hone_worker.checkpoint import TrainState  # noqa: E402
from hone_worker.config import LoraConfig, LossConfig, OptimConfig  # noqa: E402
from hone_worker.engine import Engine  # noqa: E402
from hone_worker.engine_choice import open_engine  # noqa: E402
from hone_worker.loading.model_files import open_model  # noqa: E402
from hone_worker.rows import read_batch  # noqa: E402

RATE = 1e-5
DAPO = LossConfig.from_json({"preset": "dapo"})


def started(engine: Engine, model: str) -> TrainState:
    """An adapter on all linear maps, both of its factors random, so that both have gradients."""
    adapter = lora.create(engine.linears, engine.layers, LoraConfig(rank=16, alpha=32.0), 0)
    rng = np.random.default_rng(1)
    for name, value in adapter.params.items():
        if name.endswith("lora_b"):
            adapter.params[name] = (0.01 * rng.standard_normal(value.shape)).astype(np.float32)
    engine.adapt(adapter)
    return TrainState(model, adapter, train.new_optimizer(engine, OptimConfig(learning_rate=RATE)), 0)


class Watch:
    """Adds up the seconds inside forward and backward passes: of the CPU's time, or on CUDA by the wall, waiting for the
    device around each."""

    def __init__(self, device: str) -> None:
        from torch import Tensor

        from hone_worker.lightning.passes import TorchPasses

        self.seconds, self._device = 0.0, device
        self.measure = "seconds" if device == "cuda" else "cpu"
        for owner, name in ((TorchPasses, "scored"), (Tensor, "backward")):
            setattr(owner, name, self._timed(getattr(owner, name)))

    def share(self, step: dict[str, float]) -> dict[str, float]:
        """Of a step's time, what was spent in its passes."""
        return {"in_passes": self.seconds / step[self.measure]}

    def _timed(self, work: Any) -> Any:
        @functools.wraps(work)
        def timed(*arguments: Any, **named: Any) -> Any:
            clock = Clock(self._device)
            try:
                return work(*arguments, **named)
            finally:
                self.seconds += clock.read()[self.measure]

        return timed


def main() -> None:
    folder, device, precision, cache = sys.argv[1:5]
    options = json.loads(sys.argv[5]) if len(sys.argv) > 5 else {}
    channel, memory = Channel(), Memory(device)
    engine = open_engine(open_model(folder, cache), options={"precision": precision, **options})
    if engine.device != {"cuda": "gpu"}.get(device, device):
        raise SystemExit(f"the engine chose {engine.device}, not {device}")
    state = started(engine, folder)
    # So that the step that settles memory makes the optimiser that the others use.
    state.fresh_optimizer = False
    watch: Watch | None = None
    channel.answer()
    for command in channel.commands():
        if command["do"] == "adapter":
            clock = Clock(device)
            checkpoint.write_peft(state, pathlib.Path(command["folder"]))
            channel.answer(**clock.read())
        elif command["do"] == "logprobs":
            found = train.logprobs(engine, state, read_batch(command["batch"]))["rows"]
            channel.answer(logprobs=[row["logprobs"] for row in found])
        elif command["do"] == "watch":
            watch = Watch(device)
            channel.answer()
        elif command["do"] == "settle":
            channel.answer(bytes=memory.settle())
        else:
            trajectories = read_batch(command["batch"])
            if watch:
                watch.seconds = 0.0
            memory.reset()
            clock = Clock(device)
            report = train.train_step(engine, state, state.step + 1, trajectories, DAPO)
            time, peak = clock.read(), memory.peak()
            found = {"loss": report["loss"], "grad_norm": report["grad_norm"], "peak": peak}
            channel.answer(**time, **found, **(watch.share(time) if watch else {}))


if __name__ == "__main__":
    main()
