"""The processes that train together: which there are, and what they tell each other.

Rank 0 is the worker that hone started; ``launch`` says how the others come about. Rank 0 reads every batch and tells
the others, so that nothing needs a file system which all of them see. What they tell each other goes through gloo,
whose wait costs nothing while rollouts are sampled; gradients on CUDA go through NCCL.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from lightning.fabric.plugins.environments import ClusterEnvironment, SLURMEnvironment
from torch import distributed

from hone_worker.launcher import TORCHRUN, placed
from hone_worker.lightning.watch import Watch
from hone_worker.packing import balance
from hone_worker.rows import Row

# Rollouts lie between two collectives; that a rank died is noticed without a time limit.
_TIMEOUT = timedelta(days=30)


@dataclass(frozen=True)
class Place:
    """Which process of how many this is, and where rank 0 is met."""

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    nodes: int = 1
    node: int = 0
    address: str = "127.0.0.1"
    port: int = 0

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Place | None:
        """Where torchrun or srun put this process; None if neither started it among others."""
        get, found = environment.get, placed(environment)
        if found is None:
            return None
        launcher, rank, world = found
        if launcher == TORCHRUN:
            return cls(
                rank=rank,
                world=world,
                local_rank=int(get("LOCAL_RANK", "0")),
                nodes=max(1, world // int(get("LOCAL_WORLD_SIZE", "1"))),
                node=int(get("GROUP_RANK", "0")),
                address=get("MASTER_ADDR", "127.0.0.1"),
                port=int(get("MASTER_PORT", "0")),
            )
        slurm = SLURMEnvironment(auto_requeue=False)
        hosts = get("SLURM_STEP_NODELIST") or environment["SLURM_NODELIST"]
        return cls(
            rank=rank,
            world=world,
            local_rank=int(environment["SLURM_LOCALID"]),
            nodes=int(get("SLURM_STEP_NUM_NODES", "1")),
            node=int(get("SLURM_NODEID", "0")),
            address=get("MASTER_ADDR") or slurm.resolve_root_node_address(hosts),
            port=slurm.main_port,
        )


class Group:
    """This process among the ranks. With one rank nothing is exchanged. watch: of the ranks that this one launched;
    sharded: whether the frozen weights are spread over the ranks."""

    def __init__(self, place: Place | None = None, watch: Watch | None = None) -> None:
        self.place, self.watch, self.sharded = place or Place(), watch or Watch(), False
        self.world, self.leads = self.place.world, self.place.rank == 0
        self._talk: Any = None

    def meet(self, store: distributed.Store | None = None) -> None:
        """Waits for all ranks: at ``store``, or where the place says."""
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        where = f"tcp://{self.place.address}:{self.place.port}"
        if distributed.is_torchelastic_launched():
            # Its agent may hold the store.
            where = "env://"
        distributed.init_process_group(
            backend,
            init_method=None if store else where,
            store=store,
            rank=self.place.rank,
            world_size=self.world,
            timeout=_TIMEOUT,
        )
        self._talk = distributed.new_group(backend="gloo", timeout=_TIMEOUT)

    def broadcast(self, value: Any = None) -> Any:
        """Rank 0's value, on every rank."""
        if self.world == 1:
            return value
        box = [value]
        distributed.broadcast_object_list(box, src=0, group=self._talk)
        return box[0]

    def gather(self, value: Any) -> list[Any]:
        """Every rank's value in the order of ranks, on rank 0; elsewhere nothing."""
        if self.world == 1:
            return [value]
        found: list[Any] | None = [None] * self.world if self.leads else None
        distributed.gather_object(value, found, dst=0, group=self._talk)
        return found or []

    def maximum(self, value: int) -> int:
        """The largest value of all ranks."""
        if self.world == 1:
            return value
        box = torch.tensor([value])
        distributed.all_reduce(box, distributed.ReduceOp.MAX, group=self._talk)
        return int(box)

    def all_reduce(self, tensors: Sequence[torch.Tensor]) -> None:
        """Makes every tensor the sum of all ranks' ones."""
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        distributed.all_reduce(flat)
        sizes = [tensor.numel() for tensor in tensors]
        for tensor, part in zip(tensors, flat.split(sizes), strict=True):
            tensor.copy_(part.view_as(tensor))

    def partition(self, rows: Sequence[Row]) -> list[int]:
        """The rows (indices) that this rank computes, by length: whole trajectories, and whole groups where there are
        enough of them, since their rows share prefixes."""
        if self.world == 1:
            return list(range(len(rows)))
        grouped = len({row.group_id for row in rows}) >= self.world
        units: dict[Any, list[int]] = {}
        for index, row in enumerate(rows):
            units.setdefault(row.group_id if grouped else row.sequence, []).append(index)
        members = list(units.values())
        sizes = [sum(len(rows[index].ids) for index in unit) for unit in members]
        mine = balance(sizes, self.world)[self.place.rank]
        return sorted(index for unit in mine for index in members[unit])


class RunningRanks(ClusterEnvironment):
    """Tells Lightning where this process stands. The processes run already, and have met."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        self._place = place

    creates_processes_externally = True
    main_address = property(lambda self: self._place.address)
    main_port = property(lambda self: self._place.port)

    @staticmethod
    def detect() -> bool:
        return False

    def world_size(self) -> int:
        return self._place.world

    def set_world_size(self, size: int) -> None:
        pass

    def global_rank(self) -> int:
        return self._place.rank

    def set_global_rank(self, rank: int) -> None:
        pass

    def local_rank(self) -> int:
        return self._place.local_rank

    def node_rank(self) -> int:
        return self._place.node
