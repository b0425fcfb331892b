"""What a run has measured: samples by row, layer and round; medians, spread, ratios; JSON."""

from __future__ import annotations

import json
import os
import platform
import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.sample import Sample
from benchmarks.workloads import Workload

__all__ = ["Results", "Row"]


@dataclass
class Row:
    """The samples of one workload.

    Attributes:
        name: of the row.
        unit: of the costs.
        costs: by layer and round.
        failures: by layer, why there is no figure.
    """

    name: str
    unit: str = "s"
    costs: dict[str, dict[int, float]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def median(self, layer: str) -> float | None:
        """The median of the layer's samples, None if there are none."""
        costs = self.costs.get(layer)
        return statistics.median(costs.values()) if costs else None

    def spread(self, layer: str) -> float | None:
        """Largest less smallest sample, as a part of the median."""
        costs = self.costs.get(layer)
        median = self.median(layer)
        if not costs or not median:
            return None
        return (max(costs.values()) - min(costs.values())) / median


class Results:
    """Every row of a run, in order, with what it was run on."""

    def __init__(self, versions: dict[str, str], rounds: int) -> None:
        self.rows: dict[str, Row] = {}
        self.about: dict[str, Any] = {
            "python": platform.python_version(),
            "system": f"{platform.system()} {platform.release()}",
            "processors": os.cpu_count(),
            "rounds": rounds,
            "versions": versions,
        }

    def row(self, name: str, unit: str = "s") -> Row:
        """The row of that name, made if need be."""
        return self.rows.setdefault(name, Row(name, unit))

    def add(self, workload: Workload, layer: str, round_number: int, sample: Sample) -> None:
        """Put a sample into its row, and what came with it into theirs."""
        self.row(workload.name, workload.unit).costs.setdefault(layer, {})[round_number] = (
            sample.cost
        )
        for unit, figures in (("B", sample.also), ("s", sample.seconds)):
            for name, cost in figures.items():
                self.row(name, unit).costs.setdefault(layer, {})[round_number] = cost

    def fail(self, name: str, layer: str, reason: str) -> None:
        """Note why there is no sample."""
        self.row(name).failures[layer] = reason

    def ratio(self, subject: tuple[str, str], against: tuple[str, str]) -> float | None:
        """How many times faster (or smaller) one (row, layer) is than another.

        The median of the ratios of each round, for what disturbs one round disturbs both of its sides.
        """
        costs = [self.rows[row].costs.get(layer) if row in self.rows else None
                 for row, layer in (subject, against)]  # fmt: skip
        mine, theirs = costs
        if not mine or not theirs:
            return None
        ratios = [
            theirs[number] / mine[number] for number in mine if theirs.get(number) and mine[number]
        ]
        return statistics.median(ratios) if ratios else None

    def save(self, path: Path) -> None:
        """Write everything as JSON."""
        rows = [
            {
                "name": row.name,
                "unit": row.unit,
                "costs": row.costs,
                "failures": row.failures,
                "medians": {layer: row.median(layer) for layer in row.costs},
                "spreads": {layer: row.spread(layer) for layer in row.costs},
                "ratio to gevent": {
                    layer: self.ratio((row.name, layer), (row.name, "gevent"))
                    for layer in row.costs
                },
            }
            for row in self.rows.values()
        ]
        path.write_text(json.dumps({"about": self.about, "rows": rows}, indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> Results:
        """Read what `save` has written."""
        data = json.loads(path.read_text())
        results = cls({}, 0)
        results.about = data["about"]
        for row in data["rows"]:
            found = results.row(row["name"], row["unit"])
            found.failures = row["failures"]
            for layer, costs in row["costs"].items():
                found.costs[layer] = {int(number): cost for number, cost in costs.items()}
        return results
