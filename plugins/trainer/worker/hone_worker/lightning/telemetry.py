"""What a step costs, and where its figures go besides the report: Lightning's loggers, on a thread of their own.

A logger that fails (its server is down, its package is missing) is dropped with one warning; training goes on.
"""

from __future__ import annotations

import logging
import os
import pathlib
import queue
import threading
from collections.abc import Mapping
from typing import Any

import lightning
import torch
from lightning.fabric.utilities.throughput import get_available_flops
from lightning.pytorch.loggers import CSVLogger, Logger, MLFlowLogger, TensorBoardLogger, WandbLogger

from hone_worker import process_memory
from hone_worker.lightning.adapted_model import AdaptedModel
from hone_worker.lightning.lightning_config import LightningConfig

_LOG = logging.getLogger(__name__)

# At the end, loggers have so long to send what they hold; hone waits 10 seconds for the worker's `shutdown`.
_CLOSE_SECS = 4.0
# A server that does not answer is given up after two requests of so many seconds, not after minutes.
_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}


class Cost:
    """Speed and memory of updates."""

    def __init__(self, model: AdaptedModel, ranks: int) -> None:
        self._device = model.device
        # Of a token: forward, and the gradient of the input, with 2 operations a weight. Frozen weights have no more.
        self._operations = 4 * (sum(a * b for a, b in model.linears.values()) + model.head.weight.numel())
        self._peak = (_peak(model) or 0) * ranks

    def begin(self) -> None:
        """Before an update."""
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)

    def figures(self, seconds: float, logical: float, physical: float) -> dict[str, float]:
        """tokens_per_second: of rows as if nothing were shared; mfu: the share of the devices' peak that linear maps
        took, where the peak is known; memory_peak_bytes: of rank 0, since the update began on CUDA, since the process
        began on a CPU."""
        mfu = {"mfu": physical * self._operations / seconds / self._peak} if self._peak else {}
        return {"tokens_per_second": logical / seconds, **mfu, "memory_peak_bytes": float(self._memory())}

    def _memory(self) -> int:
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device)
        return process_memory.peak_bytes() or 0


def _peak(model: AdaptedModel) -> int | None:
    """Operations a second, by the name of the device."""
    return get_available_flops(model.device, model.dtype) if model.device.type == "cuda" else None


class Loggers:
    """Takes figures, and returns at once."""

    def __init__(self, config: LightningConfig) -> None:
        wanted = [one for one in config.loggers if one["name"] != "csv"]
        # Without a folder nothing is written that was not asked for.
        self._wanted = [{"name": "csv"}, *wanted] if config.log_dir else list(config.loggers)
        self._folder = config.log_dir or "."
        self._made: dict[int, Logger] = {}
        self._queue: queue.SimpleQueue[tuple[int, dict[str, float]] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def log(self, kind: str, step: int, figures: Mapping[str, float]) -> None:
        """kind: "rl" or "supervised", the first part of each figure's name."""
        if not self._wanted:
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._write, name="loggers", daemon=True)
            self._thread.start()
        self._queue.put((step, {f"{kind}/{name}": value for name, value in figures.items()}))

    def close(self) -> None:
        """Writes what is left."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join(_CLOSE_SECS)

    def _write(self) -> None:
        while (entry := self._queue.get()) is not None:
            self._each(lambda logger, entry=entry: _write(logger, *entry))
        self._each(_finish)

    def _each(self, work: Any) -> None:
        for index, wanted in list(enumerate(self._wanted)):
            if wanted.get("failed"):
                continue
            try:
                if index not in self._made:
                    self._made[index] = make(wanted, self._folder)
                work(self._made[index])
            except BaseException as error:
                self._wanted[index] = {**wanted, "failed": True}
                reason = str(error).strip().splitlines() or [type(error).__name__]
                _LOG.warning("The logger %s failed and gets nothing more: %s", wanted["name"], reason[0])


def _write(logger: Logger, step: int, figures: dict[str, float]) -> None:
    logger.log_metrics(figures, step)
    logger.save()


def _finish(logger: Logger) -> None:
    logger.finalize("success")
    if isinstance(logger, WandbLogger):
        # Lightning leaves the end of the run to the end of the interpreter.
        logger.experiment.finish()


def make(wanted: Mapping[str, Any], folder: str) -> Logger:
    """Lightning's logger of that name, with the settings beside it; files go into ``folder``."""
    name, settings = wanted["name"], {key: value for key, value in wanted.items() if key != "name"}
    pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
    if name == "csv":
        return CSVLogger(folder, name="csv")
    if name == "tensorboard":
        return TensorBoardLogger(folder, name="tensorboard", **settings)
    if name == "wandb":
        from hone_worker.tracking.wandb_run import figures_only

        return WandbLogger(**{"save_dir": folder, "settings": figures_only(), "log_model": False, **settings})
    for variable, value in _PATIENCE.items():
        os.environ.setdefault(variable, value)
    return MLFlowLogger(**{"save_dir": str(pathlib.Path(folder, "mlruns")), **settings})


class Emissions(lightning.Callback):
    """Estimates emissions with CodeCarbon, offline; ``figures``: {emissions_kg} since training began in this process."""

    def __init__(self, country_iso_code: str, folder: str | None) -> None:
        self.figures: dict[str, float] = {}
        self._country, self._folder, self._tracker = country_iso_code, folder, None

    def on_fit_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        from hone_worker.tracking.emissions import closed_tracker

        try:
            if self._folder is not None:
                pathlib.Path(self._folder).mkdir(parents=True, exist_ok=True)
            self._tracker = closed_tracker(
                country_iso_code=self._country,
                save_to_file=self._folder is not None,
                output_dir=self._folder or ".",
            )
            self._tracker.start()
        except Exception as error:
            self._tracker = None
            _LOG.warning("Emissions are not estimated: %s", error)

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        if self._tracker is not None:
            self.figures = {"emissions_kg": float(self._tracker.flush() or 0.0)}

    def on_fit_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        if self._tracker is not None:
            self._tracker.stop()
            self._tracker = None

    def on_exception(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, exception: BaseException
    ) -> None:
        self.on_fit_end(trainer, module)
