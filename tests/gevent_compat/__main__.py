"""Run gevent's tests on both loops and print the table: ``python -m tests.gevent_compat [module ...]``.

The exit status is 0 if every module that passes on libev passes on greenify's loop, but for the rows of
`expected.EXPECTED`.
"""

from __future__ import annotations

import argparse
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.gevent_compat.comparison import complaint, dead_rows
from tests.gevent_compat.expected import EXPECTED
from tests.gevent_compat.modules import CONTROL, LOOP_CORE, OURS, available
from tests.gevent_compat.running import TIMEOUT, Outcome, attempt


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.gevent_compat", description=__doc__)
    parser.add_argument("modules", nargs="*", help="test__hub ...; all of them by default")
    parser.add_argument("--loop-core", action="store_true", help="only what tests the loop itself")
    parser.add_argument("--jobs", type=int, default=2, help="how many run at the same time")
    parser.add_argument("--timeout", type=float, default=TIMEOUT, help="seconds for one module")
    parser.add_argument("--python", default=sys.executable, help="the interpreter to test with")
    parser.add_argument("--logs", type=Path, help="a folder for what the modules print")
    parser.add_argument(
        "--control", type=Path, help="a file that keeps the results of the control between runs"
    )
    options = parser.parse_args()
    modules = options.modules or (list(LOOP_CORE) if options.loop_core else available())
    kept: dict[str, Any] = {}
    if options.control and options.control.exists():
        kept = json.loads(options.control.read_text())

    def both(module: str) -> tuple[Outcome, Outcome]:
        ours = attempt(module, OURS, options.python, options.timeout)
        if module in kept:
            control = Outcome(**{**kept[module], "failed": frozenset(kept[module]["failed"])})
        else:
            control = attempt(module, CONTROL, options.python, options.timeout)
        return control, ours

    wrong = 0
    print(f"{'module':36} {'control':>16} {'ours':>16}   s", flush=True)
    with ThreadPoolExecutor(options.jobs) as pool:
        for module, (control, ours) in zip(modules, pool.map(both, modules), strict=True):
            kept[module] = {**vars(control), "failed": sorted(control.failed), "output": ""}
            why = complaint(module, control, ours, EXPECTED)
            note = f"  {module} {why}" if why else ""
            if why is None and ours.ended != "ok":
                row = EXPECTED.get(module)
                note = f"  expected: {row[1]}" if row else "  as the control"
            wrong += why is not None
            print(f"{module:36} {control!s:>16} {ours!s:>16} {ours.seconds:5.0f}{note}", flush=True)
            if options.logs:
                options.logs.mkdir(parents=True, exist_ok=True)
                (options.logs / f"{module}.log").write_text(ours.output)
            if options.control:
                options.control.write_text(json.dumps(kept))
    if not (options.modules or options.loop_core):
        for row_name in dead_rows(EXPECTED, modules):
            print(f"the expected row {row_name} matches no module")
            wrong += 1
    print(f"{len(modules)} modules, {wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
