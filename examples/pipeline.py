"""A pipeline of tasks: files are read, cut into words and counted, with bounded queues in between.

    $ python examples/pipeline.py README.md ARCHITECTURE.md

Nothing is patched.  Each stage waits when the next one is slow (the queues are bounded), an error in any
stage ends all of them (the task group), and the whole of it has a time limit.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from pathlib import Path

from greenify import Queue, ShutDown, TaskGroup, Timeout, run_in_thread, sleep

WORD = re.compile(r"[a-z]{2,}", re.IGNORECASE)


def read(paths: list[Path], texts: Queue[str]) -> None:
    """First stage: the files, read by a native thread, since a disk may be slow."""
    for path in paths:
        texts.put(run_in_thread(path.read_text, encoding="utf-8"))
    texts.shutdown()


def cut(texts: Queue[str], words: Queue[list[str]]) -> None:
    """Second stage, in several tasks: texts into words, a line at a time."""
    try:
        while True:
            for line in texts.get().splitlines():
                words.put(WORD.findall(line.lower()))
    except ShutDown:
        pass


def count(words: Queue[list[str]], total: Counter[str], delay: float) -> None:
    """Last stage: one task, so that nobody else touches the counter."""
    try:
        while True:
            total.update(words.get())
            sleep(delay)
    except ShutDown:
        pass


def run(paths: list[Path], cutters: int, delay: float) -> Counter[str]:
    """Run the three stages to their end."""
    texts: Queue[str] = Queue(2)
    words: Queue[list[str]] = Queue(16)
    total: Counter[str] = Counter()
    with TaskGroup() as stages:
        stages.spawn(count, words, total, delay)
        with TaskGroup() as first_stages:
            first_stages.spawn(read, paths, texts)
            for _ in range(cutters):
                first_stages.spawn(cut, texts, words)
        words.shutdown()
    return total


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("paths", nargs="+", type=Path, help="files of text")
    parser.add_argument("--top", type=int, default=10, help="how many words to print")
    parser.add_argument("--cutters", type=int, default=3, help="tasks that cut texts into words")
    parser.add_argument("--timeout", type=float, default=None, help="seconds for the whole")
    parser.add_argument("--delay", type=float, default=0, help="seconds that counting a line takes")
    options = parser.parse_args()
    try:
        with Timeout(options.timeout):
            total = run(options.paths, options.cutters, options.delay)
    except Timeout as exc:
        print(f"not done after {exc}", file=sys.stderr)
        return 1
    for word, number in total.most_common(options.top):
        print(f"{number:6} {word}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
