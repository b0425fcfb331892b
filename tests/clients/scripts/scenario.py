"""The frame of the scripts here: `python script.py FUNCTION '{"argument": 1}'` prints JSON."""

from __future__ import annotations

import json
import sys
from typing import Any


def main(functions: dict[str, Any]) -> None:
    result = functions[sys.argv[1]](**json.loads(sys.argv[2]))
    json.dump(result, sys.stdout)
