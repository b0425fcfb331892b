"""The watch: who keeps the loop, for how long, and what can be done about it.

`looking` notices it, on the native thread of `greenify.core.ticker`; `kernel` and `stacks` say what the
thread does, `kept` what can be said while no Python code can run; `advice` names a remedy; `reports` puts it
into words, and `telling` hands it on.  `doctor` is the command.
"""

from __future__ import annotations

from greenify.watching.reports import Place, Report
from greenify.watching.stacks import Line
from greenify.watching.watches import Watch, on_report, turn_on, watch

__all__ = ["Line", "Place", "Report", "Watch", "on_report", "turn_on", "watch"]
