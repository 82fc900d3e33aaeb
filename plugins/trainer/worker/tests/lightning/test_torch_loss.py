"""The one loss file over torch: the golden values, and NumPy's numbers for everything that it can be told to do."""

import numpy as np
import pytest
import torch

import loss_golden
from hone_worker import loss
from hone_worker.config import PRESETS, LossConfig
from hone_worker.packing import Entries

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("case", loss_golden.CASES, ids=loss_golden.name_of)
def test_loss_has_its_golden_values(case, device):
    loss_golden.check(case, loss_golden.compute(case, torch, lambda value: torch.as_tensor(value, device=device)))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("preset", sorted(PRESETS.keys() - {"ce"}))
@pytest.mark.parametrize("tis", ["token", "sequence_mask"])
def test_torch_gives_the_numbers_of_numpy_from_logp_of_any_precision(preset, tis, device):
    config = LossConfig.from_json({"preset": preset, "tis": tis, "tis_cap": 1.1, "tau": 0.1, "beta": 0.2})
    behaviour = np.array(loss_golden.GOLDEN["far"])
    behaviour[::4] = np.nan
    found = loss_golden.entries(behaviour)
    logp, reference = (np.array(loss_golden.GOLDEN[name], np.float32) for name in ("logp", "reference"))
    factor = np.linspace(0.1, 0.2, len(logp))
    expected = loss.policy(logp, found, factor, config, reference)
    moved = Entries(*(torch.as_tensor(getattr(found, name), device=device) for name in Entries.__dataclass_fields__))
    tensors = [torch.as_tensor(value, device=device) for value in (logp, factor, reference)]
    made = loss.policy(tensors[0], moved, tensors[1], config, tensors[2], torch)
    for name in ("value", "slope", "clipped"):
        value = getattr(made, name)
        assert value.dtype == (torch.bool if name == "clipped" else torch.float64) and value.device.type == device
        np.testing.assert_allclose(value.cpu().numpy(), getattr(expected, name), rtol=1e-12, atol=1e-15)
