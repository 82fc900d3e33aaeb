"""Several processes train as one, over gloo; and how they end."""

import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import builders
import numpy as np
import pytest
from worker_process import PACKAGE

from hone_worker.errors import WorkerError
from hone_worker.lightning import launch
from hone_worker.lightning.lightning_config import LightningConfig
from hone_worker.lightning.ranks import Group, Place
from hone_worker.rows import to_rows

SPLIT = {"micro_batch_tokens": 150}

# Takes two steps with its own ranks, and leaves what came of them. A process group is one a process.
PROGRAM = """
import json, pathlib, sys
import numpy as np
import builders
from hone_worker.config import LossConfig
if __name__ == "__main__":
    folder, options, out = pathlib.Path(sys.argv[1]), json.loads(sys.argv[2]), pathlib.Path(sys.argv[3])
    training = builders.training(folder, options=options)
    batch = training.sampled(builders.trajectories(np.random.default_rng(3)), noise=0.05)
    reports = [training.train_step(1, batch, LossConfig.from_json({"preset": "grpo"})),
               training.train_step(2, batch, LossConfig.from_json({"preset": "gspo", "beta": 0.1})),
               training.train_step(3, batch[:1], LossConfig.from_json({"preset": "cispo"}))]
    weights = training.engine.model.module.model.layers[0].mlp.gate_proj.weight
    np.savez(out, **training.params, **{f"first.{k}": v for k, v in training.state.optimizer.first.items()})
    print(json.dumps({"reports": reports, "sharded": hasattr(weights, "placements")}))
    training.engine.close()
"""


def trained(folder, out, options):
    # On as many threads either way: how many there are decides the order in which products are added up.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(PACKAGE), str(PACKAGE / "tests"),
                                                                 os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(folder), json.dumps({**SPLIT, **options}), str(out)],
                          env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout), dict(np.load(out))


@pytest.fixture(scope="module")
def alone(qwen_folder, tmp_path_factory):
    """What one process makes of the steps."""
    return trained(qwen_folder, tmp_path_factory.mktemp("alone") / "alone.npz", {})


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_two_ranks_make_what_one_makes(qwen_folder, tmp_path, alone, strategy):
    (one, single), (two, double) = alone, trained(
        qwen_folder, tmp_path / "two.npz", {"devices": 2, "strategy": strategy})
    assert two["sharded"] == (strategy == "fsdp2")
    for left, right in zip(one["reports"], two["reports"], strict=True):
        for name in ("loss", "grad_norm", "entropy", "mismatch_abs", "kl_base", "ratio_mean", "clip_fraction"):
            assert np.isclose(left[name], right[name], rtol=1e-6, atol=1e-7), name
        assert left["logical_tokens"] == right["logical_tokens"]
    assert set(single) == set(double)
    for name, value in single.items():
        # AdamW divides a gradient by its own size: where it is tiny, so are the digits that it has in common.
        assert np.abs(double[name] - value).max() <= 5e-6 * np.abs(value).max(), name


def test_group_shares_rows_by_length_and_keeps_what_shares_prefixes(rng):
    rows = to_rows(builders.trajectories(rng, groups=4, size=2))
    shares = [Group(Place(rank=rank, world=2)).partition(rows) for rank in range(2)]
    assert sorted(shares[0] + shares[1]) == list(range(len(rows)))
    groups = [{rows[i].group_id for i in share} for share in shares]
    assert not groups[0] & groups[1] and all(len(group) == 2 for group in groups)
    # Fewer groups than ranks: whole trajectories.
    parts = [Group(Place(rank=rank, world=8)).partition(rows) for rank in range(8)]
    assert sorted(sum(parts, [])) == list(range(len(rows)))
    assert all(len({rows[i].sequence for i in part}) == 1 for part in parts)


def test_place_is_read_from_torchrun_and_from_srun_but_not_from_a_batch_script():
    torchrun = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "1",
                "MASTER_ADDR": "node1", "MASTER_PORT": "29500"}
    assert Place.of(torchrun) == Place(3, 4, 1, 2, 1, "node1", 29500)
    srun = {"SLURM_PROCID": "9", "SLURM_STEP_NUM_TASKS": "16", "SLURM_LOCALID": "1", "SLURM_STEP_NUM_NODES": "2",
            "SLURM_NODEID": "1", "SLURM_STEP_NODELIST": "gpu[05-06]", "SLURM_NTASKS": "16"}
    place = Place.of(srun)
    assert (place.rank, place.world, place.local_rank, place.nodes, place.node) == (9, 16, 1, 2, 1)
    assert place.address == "gpu05"
    assert Place.of({"SLURM_PROCID": "0", "SLURM_NTASKS": "8", "SLURM_JOB_ID": "7"}) is None
    assert Place.of({}) is None


def test_form_refuses_nodes_that_nobody_launched():
    with pytest.raises(WorkerError) as caught:
        launch.form(LightningConfig(nodes=2))
    assert caught.value.to_json() == {
        "code": "CONFIG_INVALID",
        "message": "The Lightning engine has nodes 2, but the worker runs on one.",
        "hint": 'Set launch to what starts it on all of them: ["torchrun", "--nnodes=2", …] '
        'or ["srun", "--nodes=2", …].',
    }


def children(parent):
    """Process ids of the ranks that a worker launched."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(fields[1]) == parent and b"hone_worker.lightning.rank" in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            pass
    return found


def gone(process):
    """Waits until a process has ended; a zombie has."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            if pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.05)
    return False


@pytest.fixture
def batch(tmp_path, rng):
    """A batch whose sampler did not say how likely its tokens were."""
    known = builders.trajectories(rng)
    return builders.write_batch(tmp_path / "batch.jsonl", [
        dataclasses.replace(t, turns=[dataclasses.replace(turn, logprobs=None) for turn in t.turns]) for t in known])


def opened(start, folder, tmp_path, **more):
    worker = start()
    made = worker.call("init", model=str(folder), cache_dir=str(tmp_path), lora={"rank": 3},
                       engine_options={"devices": 2}, **more)
    assert "model" in made, made
    (rank,) = children(worker.child.pid)
    return worker, rank


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_rank_that_is_killed_in_a_step_is_named_and_the_run_resumes(qwen_folder, start, tmp_path, batch):
    worker, rank = opened(start, qwen_folder, tmp_path)
    step = {"batch": batch, "loss": {"preset": "grpo"}}
    assert worker.call("train_step", step=1, **step)["grad_norm"] > 0
    worker.call("save", dir=str(tmp_path / "one"))
    os.kill(rank, signal.SIGSTOP)  # the step cannot end without it
    killer = threading.Thread(target=os.kill, args=(rank, signal.SIGKILL))
    worker.call("hello")
    killer.start()
    answer = worker.call("train_step", step=2, **step)
    killer.join()
    assert answer["code"] == "RANK_DIED"
    assert answer["message"].startswith("Rank 1 of 2 was killed by SIGKILL")
    assert answer["hint"] == "Resume the run: it goes on from the last checkpoint."
    # Whoever asks again hears the same, at once.
    assert worker.call("train_step", step=2, **step) == answer
    resumed, _ = opened(start, qwen_folder, tmp_path, resume_dir=str(tmp_path / "one"))
    assert resumed.call("train_step", step=2, **step)["grad_norm"] > 0


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("how", ["stdin", "SIGKILL"])
def test_no_rank_outlives_the_worker(qwen_folder, start, tmp_path, how):
    worker, rank = opened(start, qwen_folder, tmp_path)
    if how == "stdin":
        worker.child.stdin.close()
    else:
        worker.child.kill()
    worker.child.wait()
    assert gone(rank)


def test_torchrun_launches_the_ranks_too(qwen_folder, tmp_path, batch):
    """Rank 0 of torchrun speaks the protocol, the other follows."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--no-python",
               sys.executable, "-m", "hone_worker"]
    requests = [
        {"v": 1, "id": 1, "method": "init", "params": {
            "model": str(qwen_folder), "cache_dir": str(tmp_path), "lora": {"rank": 3}, "engine_options": SPLIT}},
        {"v": 1, "id": 2, "method": "supervise", "params": {"step": 1, "batch": batch}},
        {"v": 1, "id": 3, "method": "shutdown", "params": {}},
    ]
    with subprocess.Popen(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(PACKAGE)},
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        for request in requests:
            child.stdin.write((json.dumps(request) + "\n").encode())
            child.stdin.flush()
        answers = {}
        for line in child.stdout:
            message = json.loads(line)
            if "event" not in message:
                answers[message["id"]] = message
            if 3 in answers:
                break
        child.stdin.close()
        child.stderr.read()
        assert child.wait(60) == 0
    assert answers[2]["result"]["loss"] > 0, answers
