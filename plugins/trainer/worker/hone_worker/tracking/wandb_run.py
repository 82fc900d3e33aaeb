"""A Weights & Biases run: a folder that ``wandb sync`` uploads; in mode ``online`` it is sent at once."""

from __future__ import annotations

import os
from typing import Any

# Reports of the library's own errors go to its makers, in offline mode too.
os.environ["WANDB_ERROR_REPORTING"] = "false"

import wandb  # noqa: E402

from hone_worker.errors import WorkerError  # noqa: E402

INIT_SECS = 30


def open_tracker(options: dict[str, Any]) -> WandbRun:
    return WandbRun(**options)


def figures_only() -> wandb.Settings:
    """Settings by which W&B gets what is logged, and neither output, code, git state nor facts about the machine."""
    return wandb.Settings(
        console="off", silent=True, host="localhost", save_code=False, disable_git=True, disable_job_creation=True,
        x_disable_meta=True, x_disable_stats=True, x_disable_machine_info=True, init_timeout=INIT_SECS)


class WandbRun:
    """The run ``options["id"]``, new or continued.

    A row's number is W&B's own step, which must increase: W&B ignores rows that an online run has already. Charts are
    over the optimiser's step.
    """

    def __init__(self, **options: Any) -> None:
        resume = "allow" if options["mode"] == "online" else None
        try:
            self._run = wandb.init(**options, resume=resume, settings=figures_only())
        except wandb.errors.Error as error:
            hint = "Set WANDB_API_KEY (and WANDB_BASE_URL for a server of your own), or `mode: offline`."
            raise WorkerError("WANDB_REFUSED", str(error).split("\n")[0], hint) from error
        self.place = self._run.dir
        self._run.define_metric("step", hidden=True)
        self._run.define_metric("*", step_metric="step")

    def log(self, rows: list[dict[str, Any]]) -> None:
        for row in rows:
            self._run.log({**row["values"], "step": row["step"], "recorded_at": row["at"] / 1000}, step=row["seq"])

    def end(self, status: str | None, sentence: str | None) -> None:
        self._run.summary.update({"status": status or "unknown", **({"verdict": sentence} if sentence else {})})
        self._run.finish(exit_code=0 if status == "completed" else 1)
