"""That libraries still call hone's faster formulas: they are hung in where an update of PEFT or torch could pass by."""

import builders
import pytest
import torch
from adapted import opened
from peft.tuners.lora import LoraLayer

from hone_worker.lightning import frozen_linear, low_rank
from hone_worker.rows import to_rows


def test_peft_computes_lora_by_hones_formula(llama_folder, rng, monkeypatch):
    engine, params = opened(llama_folder)
    called, forward = [], low_rank.InPlace.forward

    def counted(module, *args, **more):
        called.append(module)
        return forward(module, *args, **more)

    monkeypatch.setattr(low_rank.InPlace, "forward", staticmethod(counted))
    engine.run(engine.plan(to_rows(builders.trajectories(rng))), params)
    adapted = [part for part in engine.model.module.modules() if isinstance(part, LoraLayer)]
    assert sorted(map(id, called)) == sorted(map(id, adapted)) and len(adapted) == len(params) // 2


@pytest.mark.skipif(
    torch.cuda.is_available() or not torch.backends.mkldnn.is_available(), reason="nothing is computed by oneDNN here"
)
def test_frozen_linear_maps_are_computed_by_onednn(llama_folder, rng, monkeypatch):
    engine, params = opened(llama_folder)
    called, product = [], frozen_linear.product

    def counted(x, weight, bias=None):
        called.append(weight.data_ptr())
        return product(x, weight, bias)

    monkeypatch.setattr(frozen_linear, "product", counted)
    engine.run(engine.plan(to_rows(builders.trajectories(rng))), params)
    weights = {part.weight.data_ptr() for part in engine.model.module.modules() if isinstance(part, torch.nn.Linear)
               and not isinstance(part, LoraLayer) and not part.weight.requires_grad}
    assert weights and weights <= set(called)
