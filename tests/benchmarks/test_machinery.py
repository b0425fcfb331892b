"""The machinery of the benchmarks: registry, children, statistics, goals, files."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import inspect
import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import report, resources
from benchmarks.__main__ import main
from benchmarks.goals import GOALS, judge
from benchmarks.layers import LAYERS
from benchmarks.results import Results
from benchmarks.runner import Failed, Plan, run, run_once
from benchmarks.sample import Sample, lowest, timed
from benchmarks.workloads import WORKLOADS, Workload, startup


def _results(**costs: list[float]) -> Results:
    results = Results({}, 1)
    for layer, numbers in costs.items():
        for round_number, cost in enumerate(numbers):
            results.add(WORKLOADS["switch"], layer, round_number, Sample(cost))
    return results


class TestRegistry:
    @pytest.mark.parametrize("workload", WORKLOADS.values(), ids=lambda row: row.name)
    def test_every_row_can_be_called(self, workload: Workload) -> None:
        for name in workload.all_layers:
            layer = LAYERS[name]
            signature = inspect.signature(workload.program(layer))
            for quick in (False, True):
                arguments = workload.arguments_for(layer, quick)
                signature.bind(**arguments, **dict.fromkeys(workload.needs, ""))

    def test_quick_replaces_what_is_there(self) -> None:
        for workload in WORKLOADS.values():
            program = workload.program(LAYERS["greenify"])
            assert workload.quick.keys() <= inspect.signature(program).parameters.keys()

    def test_needs_are_known(self) -> None:
        for workload in WORKLOADS.values():
            assert set(workload.needs) <= resources.RESOURCES.keys()

    def test_goals_are_about_rows(self) -> None:
        for goal in GOALS:
            for row, layer in (goal.subject, goal.against):
                # These are measured along with the time.
                row = row.replace("memory-connection", "server")
                row = re.sub("(gunicorn-.*)-(p99|memory-1000)", r"\1", row)
                row = row.replace("memory-threads", "threads")
                assert layer in WORKLOADS[row].all_layers, goal


class TestStartup:
    @pytest.mark.parametrize("measure", [startup.patching, startup.import_time])
    def test_nothing_is_compiled_while_it_is_measured(
        self,
        measure: Callable[[str], Sample],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Or a layer that pip has installed is compared with one that is compiled at each start."""
        monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        module = tmp_path / "layer_of_this_test.py"
        log = tmp_path / "log"
        module.write_text(
            f"import os\nopen({str(log)!r}, 'a').write(f'{{os.path.exists(__spec__.cached)}}\\n')\n"
        )
        measure("import layer_of_this_test")
        assert log.read_text().split() == ["True", "True"]  # the first run wrote it


class TestRunning:
    @pytest.mark.smoke
    def test_one_round(self) -> None:
        workloads = [WORKLOADS[name] for name in ("echo-1", "switch", "import-patch")]
        plan = Plan(workloads, ["greenify", "threads", "floor"], rounds=2, quick=True)
        results = Results({}, 2)
        steps: list[str] = []
        run(plan, results, steps.append)
        assert [row.failures for row in results.rows.values()] == [{}, {}, {}]
        assert {name: set(row.costs) for name, row in results.rows.items()} == {
            "echo-1": {"greenify", "threads", "floor"},
            "switch": {"greenify", "threads"},
            "import-patch": {"greenify"},
        }
        costs = [cost for row in results.rows.values() for cost in row.costs["greenify"].values()]
        assert len(costs) == 6 and min(costs) > 0
        # The layers take turns at being the first.
        assert steps[0] == "echo-1 / greenify"
        assert steps[6] == "echo-1 / threads"

    def test_server_row_also_measures_memory(self) -> None:
        sample = run_once(WORKLOADS["server-10"], LAYERS["greenify"], True, {}, 60)
        assert list(sample.also) == ["memory-connection-10"]

    @pytest.mark.smoke
    @pytest.mark.parametrize(
        "row", ["echo-100", "tls-echo", "queue-fan-out", "lock-contended", "selector", "gevent-ping-pong"]
    )  # fmt: skip
    def test_a_row_of_each_kind(self, row: str) -> None:
        workload = WORKLOADS[row]
        layer = "gevent-greenify" if row.startswith("gevent") else "greenify"
        assert layer in workload.all_layers
        with contextlib.ExitStack() as stack:
            made = {
                need: stack.enter_context(resources.RESOURCES[need]()) for need in workload.needs
            }
            assert run_once(workload, LAYERS[layer], True, made, 60).cost > 0

    def test_failure_names_its_reason(self) -> None:
        broken = Workload("switch", "scheduling", "switch", {"wrong": 1})
        with pytest.raises(Failed, match="unexpected keyword argument 'wrong'"):
            run_once(broken, LAYERS["threads"], False, {}, 60)

    def test_hang_ends(self) -> None:
        slow = Workload("idle-wake-ups", "scheduling", "idle", {"seconds": 600})
        with pytest.raises(Failed, match=r"no result after 0\.5 s"):
            run_once(slow, LAYERS["threads"], False, {}, 0.5)

    def test_missing_nginx_is_said(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(resources.shutil, "which", lambda name, path=None: None)
        results = Results({}, 1)
        said: list[str] = []
        run(Plan([WORKLOADS["requests-fresh"]], ["threads"], 1), results, warn=said.append)
        assert len(said) == 1 and "nginx is not installed" in said[0]
        assert "apt-get install" in results.rows["requests-fresh"].failures["threads"]

    def test_missing_package_is_said(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("benchmarks.layers.Layer.missing", lambda self: "gevent")
        results = Results({}, 1)
        run(Plan([WORKLOADS["switch"]], ["gevent"], 1), results)
        assert results.rows["switch"].failures == {"gevent": "gevent is not installed"}

    @pytest.mark.parametrize(
        "row, server", [("client-mysqlclient", "mariadb"), ("client-redis", "redis-server")]
    )
    def test_missing_server_is_said(
        self, row: str, server: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(resources.shutil, "which", lambda name, path=None: None)
        monkeypatch.setattr(resources.servers, "find", lambda program: None)
        results = Results({}, 1)
        run(Plan([WORKLOADS[row]], ["greenify", "threads"], 1), results, warn=lambda text: None)
        failures = results.rows[row].failures
        assert set(failures) == {"greenify", "threads"}
        assert all(f"apt-get install {server}" in reason for reason in failures.values())

    def test_missing_client_is_said(self) -> None:
        lacking = dataclasses.replace(
            WORKLOADS["client-pyzmq"], modules=("no_such_client",), needs=()
        )
        results = Results({}, 1)
        run(Plan([lacking], ["threads"], 1), results)
        reason = "the module no_such_client is not installed, which client-pyzmq needs"
        assert results.rows["client-pyzmq"].failures == {"threads": reason}

    @pytest.mark.smoke
    @pytest.mark.parametrize(
        "row", ["hand-over", "hand-over-20", "sqlite-select", "sqlite-update", "hash-update-1k"]
    )
    def test_native_calls(self, row: str) -> None:
        for layer in ("greenify", "threads"):
            assert run_once(WORKLOADS[row], LAYERS[layer], True, {}, 60).cost > 0

    @pytest.mark.skipif(importlib.util.find_spec("zmq") is None, reason="pyzmq is not installed")
    def test_clients_wait_at_once(self) -> None:
        waits = dataclasses.replace(
            WORKLOADS["client-pyzmq"], quick={"threads": 20, "seconds": 0.2}
        )
        with resources.RESOURCES["zmq"]() as zmq:
            sample = run_once(waits, LAYERS["greenify"], True, {"zmq": zmq}, 60)
        assert 0.2 <= sample.cost < 20 * 0.2


class TestStatistics:
    def test_timed(self) -> None:
        calls: list[int] = []
        assert timed(1000, lambda: calls.append(1)).cost < 1e-3
        assert calls == [1]

    def test_lowest(self) -> None:
        calls: list[int] = []

        def run(number: int) -> None:
            calls.append(number)
            time.sleep(0.02 if len(calls) == 1 else 0)

        assert lowest(100, run, repetitions=4).cost < 0.02 / 25
        assert calls == [25] * 4

    def test_ratio_is_taken_round_by_round(self) -> None:
        # The machine was slow in the second round, for both.
        results = _results(greenify=[1.0, 10.0, 2.0], gevent=[2.0, 20.0, 2.0])
        assert results.ratio(("switch", "greenify"), ("switch", "gevent")) == 2.0

    def test_no_ratio_without_figures(self) -> None:
        results = _results(greenify=[1.0])
        assert results.ratio(("switch", "greenify"), ("switch", "gevent")) is None
        assert results.ratio(("spawn", "greenify"), ("switch", "gevent")) is None

    def test_median_and_spread(self) -> None:
        row = _results(greenify=[1.0, 4.0, 2.0]).rows["switch"]
        assert row.median("greenify") == 2.0
        assert row.spread("greenify") == 1.5
        assert row.median("gevent") is None

    def test_verdicts(self) -> None:
        results = _results(greenify=[1.0], gevent=[1.79])
        verdicts = {
            verdict.goal.subject[0]: verdict
            for verdict in judge(results)
            if verdict.goal.subject[1] == "greenify"
        }
        assert verdicts["switch"].ratio == 1.79 and not verdicts["switch"].met
        assert verdicts["spawn"].ratio is None and not verdicts["spawn"].met
        results = _results(greenify=[1.0], gevent=[1.8])
        assert next(v for v in judge(results) if v.goal.subject == ("switch", "greenify")).met

    @pytest.mark.parametrize(
        "cost, unit, text",
        [(2.5, "s", "2.5 s"), (2.5e-6, "s", "2.5 µs"), (2048.0, "B", "2 KiB"), (3.0, "", "3")],
    )
    def test_amounts(self, cost: float, unit: str, text: str) -> None:
        assert report.amount(cost, unit) == text


class TestFiles:
    def test_saved_and_loaded(self, tmp_path: Path) -> None:
        results = _results(greenify=[1.0, 3.0], gevent=[2.0, 6.0])
        results.fail("epoll", "gevent", "has none")
        path = tmp_path / "results.json"
        results.save(path)
        assert json.loads(path.read_text())["rows"][0]["ratio to gevent"]["greenify"] == 2.0
        loaded = Results.load(path)
        assert report.markdown(loaded) == report.markdown(results)
        assert "- epoll / gevent: `has none`" in report.markdown(loaded)

    def test_command_line(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        options = ["-w", "lock", "-l", "greenify,threads", "-r", "1", "--quick", "--no-plots"]
        assert main([*options, "-o", str(tmp_path), "-s", "_x"]) == 0
        assert "Cost per operation" in capsys.readouterr().out
        assert sorted(os.listdir(tmp_path)) == ["results_x.json", "table_x.md"]
        assert main(["--again", str(tmp_path / "results_x.json"), "--no-plots"]) == 0
        assert "lock" in capsys.readouterr().out

    @pytest.mark.parametrize("options", [["-w", "no-such-*"], ["-l", "no-such-layer"]])
    def test_unknown_names(self, options: list[str]) -> None:
        with pytest.raises(SystemExit, match=r"no (workload|layer) is called 'no-such-"):
            main(options)
