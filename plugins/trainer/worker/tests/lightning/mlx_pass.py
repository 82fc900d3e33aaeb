"""One pass in MLX's environment, as a program: ``mlx_pass.py MODEL BATCH ADAPTER ENGINE OUT``.

OUT gets logp, entropy and, for slopes of 1, the gradients (.npz) of a checkpoint of rank 3 over two layers.
"""

import sys

import numpy as np

from hone_worker import checkpoint, lora
from hone_worker.config import LoraConfig
from hone_worker.engine_choice import open_engine
from hone_worker.loading.model_files import open_model
from hone_worker.rows import read_batch, to_rows


def found(model: str, batch: str, folder: str, name: str | None) -> dict[str, np.ndarray]:
    files = open_model(model, model)
    engine = open_engine(files, name)
    adapter = lora.create(engine.linears, engine.layers, LoraConfig(rank=3, alpha=6, last_layers=2), seed=0)
    engine.adapt(adapter)
    params = checkpoint.load_peft(folder, adapter, files.id)
    result = engine.run(engine.plan(to_rows(read_batch(batch))), params, lambda index, _: np.ones(len(index)))
    return {"logp": result.logp, "entropy": result.entropy, **result.grads}


if __name__ == "__main__":
    model, batch, folder, name, out = sys.argv[1:]
    np.savez(out, **found(model, batch, folder, name))
