"""Figures of updates in every logger's own place, and loggers that fail."""

import csv
import json
import logging
import socket
import urllib.request

import builders
import pytest
import torch
from mlflow_server import free_port, mlflow_server
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from hone_worker.lightning import telemetry


def logged(folder, tmp_path, rng, **options):
    """Two supervised updates of a training with these options; answers their reports."""
    training = builders.training(folder, options={"log_dir": str(tmp_path / "logs"), **options})
    batch = builders.trajectories(rng)
    reports = [training.supervise(step, batch) for step in (1, 2)]
    training.engine.close()
    return reports


def test_csv_and_tensorboard_hold_every_figure_of_every_step(qwen_folder, tmp_path, rng):
    reports = logged(qwen_folder, tmp_path, rng, loggers=[{"name": "tensorboard"}])
    with (tmp_path / "logs" / "csv" / "version_0" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["1", "2"]
    for name in ("loss", "grad_norm", "learning_rate", "tokens_per_second", "memory_peak_bytes"):
        assert [float(row[f"supervised/{name}"]) for row in rows] == [report[name] for report in reports]
    events = EventAccumulator(str(tmp_path / "logs" / "tensorboard" / "version_0"))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("supervised/loss")] == [
        (step, pytest.approx(report["loss"], rel=1e-6)) for step, report in enumerate(reports, 1)]


def test_nothing_is_written_where_nothing_was_asked_for(qwen_folder, tmp_path, rng, monkeypatch):
    monkeypatch.chdir(tmp_path)
    training = builders.training(qwen_folder)
    training.supervise(1, builders.trajectories(rng))
    training.engine.close()
    assert list(tmp_path.iterdir()) == []


def test_wandb_writes_a_run_offline(qwen_folder, tmp_path, rng, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setattr(telemetry, "_CLOSE_SECS", 300.0)
    logged(qwen_folder, tmp_path, rng, loggers=[{"name": "wandb", "project": "hone", "offline": True}])
    (record,) = (tmp_path / "logs" / "wandb").glob("offline-run-*/run-*.wandb")
    assert b"supervised/loss" in record.read_bytes()


def test_mlflow_server_has_the_metrics(qwen_folder, tmp_path, rng, monkeypatch):
    monkeypatch.setattr(telemetry, "_CLOSE_SECS", 300.0)
    with mlflow_server(tmp_path / "server") as url:
        reports = logged(qwen_folder, tmp_path, rng, loggers=[
            {"name": "mlflow", "tracking_uri": url, "experiment_name": "agents"}])

        def asked(path, body=None):
            data = None if body is None else json.dumps(body).encode()
            request = urllib.request.Request(f"{url}/api/2.0/mlflow/{path}", data, {"content-type": "application/json"})
            with urllib.request.urlopen(request, timeout=30) as response:
                return json.loads(response.read())

        experiment = asked("experiments/get-by-name?experiment_name=agents")["experiment"]["experiment_id"]
        (run,) = asked("runs/search", {"experiment_ids": [experiment]})["runs"]
        assert run["info"]["status"] == "FINISHED"
        history = asked(f"metrics/get-history?run_id={run['info']['run_id']}&metric_key=supervised/loss")["metrics"]
    assert [(m["step"], m["value"]) for m in history] == [(i, r["loss"]) for i, r in enumerate(reports, 1)]


def test_a_logger_that_fails_is_dropped_with_one_warning(qwen_folder, tmp_path, rng, caplog, monkeypatch):
    monkeypatch.setattr(telemetry, "_CLOSE_SECS", 300.0)
    url = f"http://127.0.0.1:{free_port()}"
    with caplog.at_level(logging.WARNING, "hone_worker"):
        logged(qwen_folder, tmp_path, rng, loggers=[{"name": "mlflow", "tracking_uri": url}])
    (said,) = [record.getMessage() for record in caplog.records if record.name.startswith("hone_worker")]
    assert said.startswith("The logger mlflow failed and gets nothing more: ") and "Connection refused" in said
    assert (tmp_path / "logs" / "csv" / "version_0" / "metrics.csv").read_text().count("\n") == 3


def test_carbon_is_estimated_offline(qwen_folder, tmp_path, rng):
    reports = logged(qwen_folder, tmp_path, rng, carbon={"country_iso_code": "DEU"})
    assert reports[1]["emissions_kg"] >= reports[0]["emissions_kg"] >= 0
    assert (tmp_path / "logs" / "emissions.csv").exists()


def test_carbon_sends_nothing_where_a_configuration_file_says_so(qwen_folder, tmp_path, rng, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        endpoint = f"http://127.0.0.1:{server.getsockname()[1]}"
        (tmp_path / ".codecarbon.config").write_text(
            f"[codecarbon]\nemissions_endpoint = {endpoint}\nsave_to_api = true\napi_endpoint = {endpoint}\n")
        monkeypatch.chdir(tmp_path)
        logged(qwen_folder, tmp_path, rng, carbon={"country_iso_code": "DEU"})
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()


def test_mfu_counts_forward_and_the_gradient_of_inputs_against_the_devices_peak(qwen_folder, monkeypatch):
    training = builders.training(qwen_folder)
    model = training.engine.model
    monkeypatch.setattr(telemetry, "_peak", lambda _: 10**9)
    found = telemetry.Cost(model, 2).figures(2.0, 300, 100)
    weights = sum(a * b for a, b in model.linears.values()) + 32 * builders.VOCAB
    assert found["mfu"] == pytest.approx(100 * 4 * weights / 2.0 / (2 * 10**9))
    assert found["tokens_per_second"] == 150
    monkeypatch.undo()
    assert "mfu" not in telemetry.Cost(model, 2).figures(2.0, 300, 100) or torch.cuda.is_available()
