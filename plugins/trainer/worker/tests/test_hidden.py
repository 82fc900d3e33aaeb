"""The states that the sampler keeps are those that the trainer would compute."""

import builders
import numpy as np

from hone_worker.mlx.decode import LlamaDecoder
from hone_worker.mlx.hidden import HiddenStore
from hone_worker.trajectory import Trajectory, TurnRecord, to_rows


def test_decoder_keeps_what_the_trunk_computes(llama_folder, rng):
    trainer = builders.trainer(llama_folder)
    decoder = LlamaDecoder(trainer.model.fast)
    decoder.states = store = HiddenStore(2, 32, capacity=1024)
    decoder.load(trainer.adapter.params, trainer.adapter.config.scale)
    shared = rng.integers(2, 96, 30).tolist()
    prefix = decoder.prefix(shared)
    rows = [decoder.row(prefix), decoder.row(prefix), decoder.row()]
    prompts = [rng.integers(2, 96, n).tolist() for n in (5, 1, 40)]
    outputs = [rng.integers(2, 96, 4).tolist() for _ in rows]
    decoder.forward(rows, prompts, [True] * 3)
    for step in range(3):
        decoder.forward(rows, [[o[step]] for o in outputs], [True] * 3)
    contexts = [shared + prompts[0], shared + prompts[1], prompts[2]]
    batch = [
        Trajectory(str(i), "g", 0, 1.0, 1.0, [TurnRecord(c, o)])
        for i, (c, o) in enumerate(zip(contexts, outputs, strict=True))
    ]
    own = trainer.engine.plan(to_rows(batch))
    trainer.engine.run(own, None)
    trainer.engine.hidden = store
    kept = trainer.engine.plan(to_rows(batch))
    assert kept.trunk == [] and np.allclose(kept.boundary, own.boundary, atol=1e-4)
