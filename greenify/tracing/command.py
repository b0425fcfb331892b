"""``python -m greenify trace-report FILE``."""

from __future__ import annotations

import argparse
import os
import sys

from greenify.inspect.commands import show
from greenify.inspect.garbage import fewer_collections
from greenify.tracing.reading import read
from greenify.tracing.report import analyse, in_words

__all__ = ["main"]


def main(prog: str, args: list[str]) -> int:
    """Tell what a trace shows, and draw it on request; the exit code is 1 if it cannot be read."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Tell in words what a trace shows: who kept the loop, what was waited for, "
        "and how long threads were ready before they ran.",
    )
    parser.add_argument("file", metavar="FILE", help="a trace, written by --trace FILE")
    parser.add_argument(
        "--html",
        metavar="OUT",
        help="write the same as a page with the timeline, which opens without a network "
        "(needs the extra greenify[trace])",
    )
    parser.add_argument(
        "--rows", type=_positive, default=10, metavar="N", help="how long the tables are (10)"
    )
    options = parser.parse_args(args)
    try:
        # Millions of objects, none of which is garbage before the end.
        with fewer_collections():
            picture = read(options.file)
            report = analyse(picture, options.rows)
    except (OSError, ValueError) as exc:
        print(f"{prog}: {options.file}: {_why(exc)}", file=sys.stderr)
        return 1
    text = in_words(report, os.path.basename(options.file))
    if options.html is not None:
        try:
            from greenify.tracing.page import page
        except ImportError as exc:
            print(f"{prog}: {exc}: pip install 'greenify[trace]'", file=sys.stderr)
            return 1
        try:
            with open(options.html, "w", encoding="utf-8") as file:
                file.write(page(picture, text, os.path.basename(options.file)))
        except OSError as exc:
            print(f"{prog}: {options.html}: {_why(exc)}", file=sys.stderr)
            return 1
    show(text.splitlines())
    return 0


def _why(exc: Exception) -> str:
    return (exc.strerror or str(exc)) if isinstance(exc, OSError) else str(exc)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError("that is no positive number")
    return int(text)
