"""The states that the sampler keeps are those that training would compute."""

import builders
import numpy as np

from hone_worker.cpu_llama.decoder import LlamaDecoder
from hone_worker.cpu_llama.hidden_states import HiddenStates
from hone_worker.rows import Trajectory, TurnRecord, to_rows


def test_decoder_keeps_what_the_trunk_computes(llama_folder, rng):
    training = builders.training(llama_folder)
    store = HiddenStates(2, 32, capacity=1024)
    decoder = LlamaDecoder(training.engine.weights, training.state.adapter.config.scale, states=store)
    decoder.load(training.params)
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
    own = training.engine.plan(to_rows(batch))
    training.engine.run(own, None)
    training.engine.hidden = store
    kept = training.engine.plan(to_rows(batch))
    assert kept.trunk == [] and np.allclose(kept.boundary, own.boundary, atol=1e-4)
