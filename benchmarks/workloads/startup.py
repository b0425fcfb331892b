"""What a program pays before its first line: importing the layer and patching.  Measured in new processes.

With the bytecode of every module in place, as pip leaves it: a source tree that runs where writing bytecode
is switched off compiles itself at each start, which takes longer than all the rest.
"""

from __future__ import annotations

import os
import subprocess
import sys

from benchmarks.sample import Sample

__all__ = ["import_time", "patching"]

_CLOCK = """\
import time
begun = time.perf_counter()
{enter}
print(time.perf_counter() - begun)
"""


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python with these arguments, in a process that may write bytecode."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=env)


def patching(enter: str) -> Sample:
    """Seconds for the statements with which a program enters the layer."""
    program = _CLOCK.format(enter=enter)
    _run("-c", program)  # writes what bytecode is missing
    return Sample(float(_run("-c", program).stdout))


def _imported(code: str) -> float:
    # Lines are "import time: self [us] | cumulative | name".
    total = 0
    for line in _run("-X", "importtime", "-c", code).stderr.splitlines():
        own = line.removeprefix("import time:").split("|")[0].strip()
        if line.startswith("import time:") and own.isdigit():
            total += int(own)
    return total / 1e6


def import_time(enter: str) -> Sample:
    """Seconds in the modules that the layer imports, as ``-X importtime`` adds them up."""
    _run("-c", enter)  # writes what bytecode is missing
    return Sample(max(0.0, _imported(enter) - _imported("pass")))
