"""Spreads the frozen weights of a model over the ranks (FSDP2): each layer is gathered where it is computed.

The adapter stays whole on every rank, and so do its moments: they are small, and everything that reads or replaces
them (checkpoints, resume, clipping) is what it is without sharding. So do the embeddings, the last norm and the head,
which passes use outside of the layers.
"""

from __future__ import annotations

import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from hone_worker.lightning.adapted_model import AdaptedModel
from hone_worker.lightning.model_loading import device
from hone_worker.lightning.ranks import Group


def shard(model: AdaptedModel, group: Group) -> None:
    """Shards the layers of a model that has its adapters and lies on the CPU, whole on each rank; the rest goes to the
    rank's device."""
    place = device()
    mesh = init_device_mesh(place.type, (group.world,), mesh_dim_names=("data_parallel",))
    layers = next(part for part in model.trunk.modules() if isinstance(part, torch.nn.ModuleList))
    frozen = {weight for name, weight in layers.named_parameters() if ".lora_" not in name}
    whole = {weight for weight in model.module.parameters() if weight not in frozen}
    for layer in layers:
        fully_shard(layer, mesh=mesh, ignored_params=whole)
    fully_shard(model.trunk, mesh=mesh, ignored_params=whole)
    model.module.to(place)
    model.device = place
