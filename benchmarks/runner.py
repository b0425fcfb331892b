"""Running workloads in child processes: layers interleaved, several rounds."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.layers import LAYERS, Layer
from benchmarks.resources import RESOURCES, Missing
from benchmarks.results import Results
from benchmarks.sample import Sample
from benchmarks.workloads import Workload

__all__ = ["Failed", "Plan", "run", "run_once"]

_ROOT = Path(__file__).resolve().parent.parent


class Failed(Exception):
    """A child process has not delivered; the text is its last words."""


@dataclass(frozen=True)
class Plan:
    """What to run.

    Attributes:
        workloads: in order.
        layers: their names.
        rounds: how many times everything is run.
        quick: with the small numbers, which show that it works and measure nothing.
        timeout: seconds that one child may take.
    """

    workloads: Sequence[Workload]
    layers: Sequence[str]
    rounds: int
    quick: bool = False
    timeout: float = 120.0

    def pairs(self, round_number: int) -> list[tuple[Workload, Layer]]:
        """What runs in one round; the layers of a workload are neighbours, in turning order."""
        pairs = []
        for workload in self.workloads:
            names = [name for name in workload.all_layers if name in self.layers]
            turn = round_number % len(names) if names else 0
            pairs += [(workload, LAYERS[name]) for name in names[turn:] + names[:turn]]
        return pairs


def run_once(
    workload: Workload, layer: Layer, quick: bool, resources: dict[str, str], timeout: float
) -> Sample:
    """Run one workload under one layer in a process of its own.

    Raises:
        Failed: it has crashed, hung, or said nothing.
    """
    arguments = workload.arguments_for(layer, quick)
    arguments |= {name: resources[name] for name in workload.needs}
    # Such a program is about the layer, not under it.
    entered = LAYERS["threads"] if workload.bare or workload.hosted else layer
    program = "from benchmarks.child import main; main()"
    if entered.enter and not entered.launcher:
        program = f"{entered.enter}\n{program}"
    command = [sys.executable, *entered.launcher, "-c", program]
    command += [entered.name, workload.name, json.dumps(arguments)]
    path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH", "")]))
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        raise Failed(f"no result after {timeout:g} s") from None
    finally:
        # With whatever it has started.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    lines = out.strip().splitlines()
    if process.returncode or not lines:
        last = [line for line in err.strip().splitlines() if line.strip()]
        raise Failed(last[-1] if last else f"exit status {process.returncode}")
    return Sample(**json.loads(lines[-1]))


def _lacking(workload: Workload, layer: Layer, missing: dict[str, str]) -> str:
    """Why the workload cannot be run here, or an empty string."""
    for need in workload.needs:
        if need in missing:
            return missing[need]
    for module in workload.modules:
        if importlib.util.find_spec(module.partition(".")[0]) is None:
            return f"the module {module} is not installed, which {workload.name} needs"
    package = layer.missing()
    return f"{package} is not installed" if package else ""


def run(
    plan: Plan,
    results: Results,
    advance: Callable[[str], None] = lambda what: None,
    warn: Callable[[str], None] = print,
) -> None:
    """Run the plan and put every sample into `results`.

    Args:
        advance: called before each child with what it is going to run.
        warn: called once for each resource that is missing.
    """
    with contextlib.ExitStack() as stack:
        resources: dict[str, str] = {}
        missing: dict[str, str] = {}
        for name in sorted({need for workload in plan.workloads for need in workload.needs}):
            try:
                resources[name] = stack.enter_context(RESOURCES[name]())
            except Missing as exc:
                missing[name] = str(exc)
                warn(str(exc))
        broken: set[tuple[str, str]] = set()
        for round_number in range(plan.rounds):
            for workload, layer in plan.pairs(round_number):
                advance(f"{workload.name} / {layer.name}")
                reason = _lacking(workload, layer, missing)
                if reason:
                    results.fail(workload.name, layer.name, reason)
                    continue
                if (workload.name, layer.name) in broken:
                    continue
                try:
                    sample = run_once(workload, layer, plan.quick, resources, plan.timeout)
                except Failed as exc:
                    broken.add((workload.name, layer.name))
                    results.fail(workload.name, layer.name, str(exc))
                else:
                    results.add(workload, layer.name, round_number, sample)
