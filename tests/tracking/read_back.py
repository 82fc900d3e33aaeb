"""What trackers wrote, as JSON, by TensorBoard's own reader and W&B's own records.

    read_back.py tensorboard|wandb PATH
"""

import json
import pathlib
import struct
import sys
from collections.abc import Iterator


def tensorboard(path: str) -> object:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(path, size_guidance={"scalars": 0, "tensors": 0})
    read.Reload()
    scalars = {tag: [[e.step, e.wall_time, e.value] for e in read.Scalars(tag)] for tag in read.Tags()["scalars"]}
    texts = {tag: [e.tensor_proto.string_val[0].decode() for e in read.Tensors(tag)] for tag in read.Tags()["tensors"]}
    return {"scalars": scalars, "texts": texts}


def wandb(path: str) -> object:
    from wandb.proto.wandb_internal_pb2 import Record

    found: dict = {"history": [], "summary": {}, "config": {}}
    for data in stored(pathlib.Path(path).read_bytes()):
        record = Record()
        record.ParseFromString(data)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            found["run"] = {"id": record.run.run_id, "project": record.run.project, "name": record.run.display_name,
                            "tags": list(record.run.tags), "host": record.run.host}
            found["config"] = {item.key: json.loads(item.value_json) for item in record.run.config.update}
        elif kind == "history":
            found["history"].append(values(record.history.item))
        elif kind == "summary":
            found["summary"].update(values(record.summary.update))
        elif kind == "exit":
            found["exit"] = record.exit.exit_code
    return found


def stored(content: bytes) -> Iterator[bytes]:
    """The records of a .wandb file: W&B's header of 7 bytes, then LevelDB's log format in blocks of 32 KiB."""
    assert content[:4] == b":W&B"
    block, header = 32768, struct.Struct("<IHB")
    at, parts = header.size, b""
    while at + header.size <= len(content):
        if block - at % block < header.size:
            at += block - at % block
            continue
        _, length, kind = header.unpack_from(content, at)
        at += header.size
        parts += content[at : at + length]
        at += length
        # 1: whole, 2: first, 3: middle, 4: last
        if kind in (1, 4):
            yield parts
            parts = b""


def values(items: list) -> dict:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


if __name__ == "__main__":
    print(json.dumps({"tensorboard": tensorboard, "wandb": wandb}[sys.argv[1]](sys.argv[2])))
