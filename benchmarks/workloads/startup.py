"""What a program pays before its first line: importing the layer and patching.  Measured in new processes."""

from __future__ import annotations

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


def patching(enter: str) -> Sample:
    """Seconds for the statements with which a program enters the layer."""
    command = [sys.executable, "-c", _CLOCK.format(enter=enter)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return Sample(float(done.stdout))


def _imported(code: str) -> float:
    # Lines are "import time: self [us] | cumulative | name".
    command = [sys.executable, "-X", "importtime", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    total = 0
    for line in done.stderr.splitlines():
        own = line.removeprefix("import time:").split("|")[0].strip()
        if line.startswith("import time:") and own.isdigit():
            total += int(own)
    return total / 1e6


def import_time(enter: str) -> Sample:
    """Seconds in the modules that the layer imports, as ``-X importtime`` adds them up."""
    return Sample(max(0.0, _imported(enter) - _imported("pass")))
