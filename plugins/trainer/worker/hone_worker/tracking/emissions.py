"""Energy and emissions of this machine while the run lasts, by CodeCarbon's offline tracker: no network."""

from __future__ import annotations

import pathlib
from typing import Any

from codecarbon import OfflineEmissionsTracker
from codecarbon.input import DataSource
from codecarbon.output_methods.base_output import BaseOutput, OutputMethod

from hone_worker.errors import WorkerError


def open_tracker(options: dict[str, Any]) -> Emissions:
    return Emissions(**options)


def closed_tracker(**settings: Any) -> OfflineEmissionsTracker:
    """CodeCarbon's offline tracker with ``settings``, which sends nothing whatever a .codecarbon.config says."""
    return OfflineEmissionsTracker(
        allow_multiple_runs=True, log_level="error", emissions_endpoint=None, electricitymaps_api_token=None,
        save_to_api=False, save_to_logger=False, save_to_prometheus=False, save_to_logfire=False, **settings)


class Emissions(BaseOutput):
    """Measures until its end, and keeps one row in ``output_dir``/emissions.csv."""

    def __init__(
        self, project_name: str, country_iso_code: str, region: str | None, output_dir: str, measure_secs: float
    ) -> None:
        if country_iso_code not in DataSource().get_global_energy_mix_data():
            raise WorkerError(
                "COUNTRY_UNKNOWN",
                f"CodeCarbon knows no country {country_iso_code!r}.",
                "`country_iso_code` is of three letters (ISO 3166-1 alpha-3), such as DEU, FRA or USA.",
            )
        pathlib.Path(output_dir).mkdir(parents=True, exist_ok=True)
        self.place = output_dir
        self._values: dict[str, float] = {}
        self._tracker = closed_tracker(
            project_name=project_name, country_iso_code=country_iso_code, region=region, output_dir=output_dir,
            output_file="emissions.csv", on_csv_write="update", measure_power_secs=measure_secs,
            tracking_mode="machine", output_methods=[OutputMethod.CSV], output_handlers=[self], save_to_file=True)
        self._tracker.start()
        if not self.measure():
            raise WorkerError(
                "CARBON_NOT_MEASURED", "CodeCarbon measures nothing on this machine.", "The run's log says why.")

    def out(self, total: Any, delta: Any) -> None:
        """CodeCarbon's hand-over at each flush."""
        self._values = {
            "energy_kwh": total.energy_consumed, "emissions_kg": total.emissions, "cpu_energy_kwh": total.cpu_energy,
            "gpu_energy_kwh": total.gpu_energy, "ram_energy_kwh": total.ram_energy}

    def measure(self) -> dict[str, float]:
        """Totals since its start."""
        self._tracker.flush()
        return self._values

    def log(self, rows: list[dict[str, Any]]) -> None:
        pass

    def end(self, status: str | None, sentence: str | None) -> None:
        self._tracker.stop()
