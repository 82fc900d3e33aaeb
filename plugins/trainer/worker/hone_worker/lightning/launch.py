"""How the ranks come about, and how they end.

On one node the worker launches the others itself (``local_ranks``), with torchrun's environment, and watches them. A
rank that it launched lives no longer than the worker: its stdin ends with it. On more nodes, whoever launched the
worker (torchrun, srun) launched the others too, and watches them.

Errors: WorkerError CONFIG_INVALID (devices or nodes that are not there), RANK_DIED.
"""

from __future__ import annotations

import os
import socket
import threading
import time

import torch
from torch import distributed

from hone_worker.errors import WorkerError
from hone_worker.lightning.lightning_config import LightningConfig
from hone_worker.lightning.ranks import Group, Place
from hone_worker.lightning.watch import LAUNCHED, Watch


def form(config: LightningConfig) -> Group:
    """All ranks that ``config`` wants, met; this is rank 0."""
    place = Place.of(os.environ)
    if place is not None:
        group = Group(place)
        group.meet()
        return group
    found, ranks = torch.cuda.device_count(), ranks_per_node(config)
    if config.nodes > 1:
        raise WorkerError(
            "CONFIG_INVALID",
            f"The Lightning engine has nodes {config.nodes}, but the worker runs on one.",
            'Set launch to what starts it on all of them: ["torchrun", "--nnodes=2", …] or ["srun", "--nodes=2", …].',
        )
    if found and ranks > found:
        raise WorkerError(
            "CONFIG_INVALID",
            f"The Lightning engine has devices {ranks}, but torch finds {found}.",
            "Lower devices, or make more of them visible.",
        )
    cores = os.cpu_count() or 1
    if not found and ranks > max(2, cores):
        raise WorkerError(
            "CONFIG_INVALID",
            f"The Lightning engine has devices {ranks}, but torch finds no GPU, and this machine has {cores} cores.",
            "Lower devices, or leave it out: one process takes all cores.",
        )
    return local_ranks(ranks) if ranks > 1 else Group()


def ranks_per_node(config: LightningConfig) -> int:
    """How many ranks ``config`` asks for on each node."""
    return max(1, torch.cuda.device_count()) if config.devices == "auto" else int(config.devices)


def local_ranks(world: int) -> Group:
    """Launches ranks 1 and up on this node, and meets them."""
    _stay_on_loopback()
    watch, store = Watch(), _store(world)
    try:
        for rank in range(1, world):
            watch.start(rank, world, store.port)
        while not store.check([f"here/{rank}" for rank in range(1, world)]):
            if watch.dead:
                raise watch.dead
            time.sleep(0.02)
    except BaseException:
        watch.close()
        raise
    group = Group(Place(world=world, port=store.port), watch)
    group.meet(store)
    _share_cores(world)
    return group


def _stay_on_loopback() -> None:
    """What ranks tell each other is pickled and asks for no key; gloo listens where the host's name leads otherwise."""
    names = {name for _, name in socket.if_nameindex()}
    for name in ("lo", "lo0"):
        if name in names:
            os.environ["GLOO_SOCKET_IFNAME"] = name
            return


def _store(world: int) -> distributed.TCPStore:
    """Where local ranks meet; torch would have it listen on every interface."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    return distributed.TCPStore(
        "127.0.0.1", port, world, is_master=True, wait_for_workers=False, master_listen_fd=listener.detach())


def follow() -> Group:
    """Meets the others, on a rank that is not rank 0. One that the worker launched ends with its stdin."""
    place = Place.of(os.environ)
    assert place is not None
    group = Group(place)
    # Which device is this rank's; srun does not say it by this name.
    os.environ.setdefault("LOCAL_RANK", str(place.local_rank))
    if LAUNCHED not in os.environ:
        group.meet()
        return group
    threading.Thread(target=_end_with_stdin, name="stdin", daemon=True).start()
    store = distributed.TCPStore(place.address, place.port, place.world, is_master=False)
    store.set(f"here/{place.rank}", "1")
    group.meet(store)
    _share_cores(place.world)
    return group


def _end_with_stdin() -> None:
    while os.read(0, 4096):
        pass
    os._exit(0)


def _share_cores(world: int) -> None:
    torch.set_num_threads(max(1, torch.get_num_threads() // world))
