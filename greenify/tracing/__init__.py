"""The trace: a picture of time, drawn while a program runs; see `greenify.trace`."""

from greenify.tracing.session import Trace, current_trace, trace

__all__ = ["Trace", "current_trace", "trace"]
