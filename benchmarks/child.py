"""One workload under one layer, in a process of its own, which prints one JSON line.

Arguments: the layer, the workload, and what the workload is called with, as JSON.  The layer has been entered
before this is imported (`benchmarks.runner`), as a program of the user does at its top.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import warnings

__all__ = ["main"]


def main() -> None:
    """Run it."""
    name, workload, arguments = sys.argv[1:4]
    from benchmarks.layers import LAYERS

    # Layers of others use what newer Pythons deprecate.
    warnings.simplefilter("ignore")
    from benchmarks.workloads import WORKLOADS

    sample = WORKLOADS[workload].program(LAYERS[name])(**json.loads(arguments))
    print("\n" + json.dumps(dataclasses.asdict(sample)), flush=True)


if __name__ == "__main__":
    main()
