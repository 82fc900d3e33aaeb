"""The engine's options: what is refused, in words, and what they mean on a machine without CUDA."""

import pytest
import torch
from adapted import opened

from hone_worker.errors import WorkerError
from hone_worker.lightning.lightning_config import LightningConfig


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        (
            {"speed": 9},
            "has no option 'speed'",
            "Options: carbon, devices, gradient_checkpointing, log_dir, loggers, micro_batch_tokens, nodes, "
            "precision, prefix_sharing, quantize, strategy.",
        ),
        ({"precision": "fp8"}, "has precision 'fp8'", "It is one of auto, fp32, bf16, fp16."),
        ({"quantize": "8bit"}, "has quantize '8bit'", "It is one of null, 4bit."),
        (
            {"gradient_checkpointing": 1},
            "has gradient_checkpointing 1",
            "It is one of auto, true, false.",
        ),
        ({"nodes": 0}, "has nodes 0", "It is a whole number, 1 or more."),
        ({"devices": True}, "has devices True", 'It is "auto", or a whole number, 1 or more.'),
        ({"micro_batch_tokens": -1}, "has micro_batch_tokens -1", "It is a whole number, 0 or more."),
        (
            {"quantize": "4bit", "strategy": "fsdp2"},
            'has quantize "4bit" and strategy "fsdp2"',
            'Set strategy to "ddp", or quantize to null.',
        ),
        (
            {"loggers": [{"name": "print"}]},
            "has the logger {'name': 'print'}",
            "A logger has a name of csv, tensorboard, wandb, mlflow.",
        ),
    ],
)
def test_impossible_options_are_refused(options, message, hint):
    with pytest.raises(WorkerError) as caught:
        LightningConfig.from_json(options)
    expected = {"code": "CONFIG_INVALID", "message": f"The Lightning engine {message}.", "hint": hint}
    assert caught.value.to_json() == expected


def test_options_left_out_or_null_have_their_defaults():
    assert LightningConfig.from_json(None) == LightningConfig.from_json({"devices": None}) == LightningConfig()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine can quantize")
def test_four_bits_without_cuda_are_refused(llama_folder):
    with pytest.raises(WorkerError) as caught:
        opened(llama_folder, quantize="4bit")
    assert caught.value.to_json() == {
        "code": "CONFIG_INVALID",
        "message": "4-bit weights need CUDA, and torch finds no CUDA device.",
        "hint": "Leave quantize out, or train on a machine with an NVIDIA GPU.",
    }


def test_half_precision_trains_near_full_precision(qwen_folder, rng):
    import builders
    import numpy as np

    from hone_worker.rows import to_rows

    rows = to_rows(builders.trajectories(rng))
    found = []
    for precision in ("fp32", "bf16"):
        engine, params = opened(qwen_folder, precision=precision)
        found.append(engine.run(engine.plan(rows), params, lambda i, _: np.ones(len(i))))
    assert np.abs(found[0].logp - found[1].logp).mean() < 0.05
    for name, value in found[0].grads.items():
        assert value.dtype == found[1].grads[name].dtype == np.float32
        assert np.linalg.norm(found[1].grads[name] - value) < 0.1 * np.linalg.norm(value), name
