"""Whether torchrun or srun started this process among others, by the environment that they give it."""

from __future__ import annotations

from collections.abc import Mapping

TORCHRUN, SRUN = "torchrun", "srun"
# Of a job, SLURM_NTASKS is set in its batch script too; only a task of srun sees how many its step has.
_NAMES = {TORCHRUN: ("RANK", "WORLD_SIZE"), SRUN: ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS")}


def placed(environment: Mapping[str, str]) -> tuple[str, int, int] | None:
    """(launcher, rank, number of ranks); None where there is but one. Either number alone is left over from
    something else."""
    for launcher, (rank, ranks) in _NAMES.items():
        if environment.get(rank) and int(environment.get(ranks) or 1) > 1:
            return launcher, int(environment[rank]), int(environment[ranks])
    return None
