"""The tests that can't pass under greenify, each with a reason that a reader can check.

A row that matches no test, or matches one that passes, fails the run. "Flaky" is not a reason.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True)
class Row:
    """`test` is an id as the report prints it (`*`, `?` and `[...]` as in file names).

    `versions` are those of Python that the row is about, all of them where it is empty. A test that `lingers`
    leaves something behind when it fails that keeps its process from ending: it has one to itself.
    """

    test: str
    reason: str
    versions: tuple[str, ...] = ()
    lingers: bool = False

    def __post_init__(self) -> None:
        if len(self.reason) < 20:
            raise ValueError(f"the row {self.test!r} needs a reason that a reader can check")

    def applies(self, version: str) -> bool:
        return not self.versions or version in self.versions

    def matches(self, test: str) -> bool:
        return fnmatchcase(test, self.test)

    def is_about(self, module: str) -> bool:
        """Whether it names tests of that module; its first part may be a pattern, too."""
        return fnmatchcase(module.split(".")[0], self.test.split(".")[0])


EXPECTED: tuple[Row, ...] = (
    # Threads are greenlets.
    Row(
        "test_threading.ThreadTests.test_disallow_instantiation",
        "asserts that the type of a lock cannot be called: before CPython 3.13 threading.Lock is a function, "
        "and here it is the class on every version",
        versions=("3.10", "3.11", "3.12"),
    ),
    Row(
        "test_queue.CSimpleQueueTest.test_simplequeue_sizeof",
        "compares the size of a SimpleQueue with that of the native C structure, not this class",
        versions=("3.15",),
    ),
    Row(
        "test_threading.ThreadTests.test_PyThreadState_SetAsyncExc_interrupts_sleep",
        "ends a thread by PyThreadState_SetAsyncExc, called from C with no Python in between: that knows "
        "OS threads only (through ctypes it is replaced)",
        versions=("3.15",),
        lingers=True,  # a thread that sleeps for a day
    ),
    Row(
        "test_concurrent_futures.test_thread_pool.ThreadPoolExecutorTest.test_process_fork_from_a_threadpool",
        "asserts that a fork warns of other OS threads (DeprecationWarning): there are none",
        versions=("3.14", "3.15"),
    ),
    # Blocking calls are Python functions.
    Row(
        "test_ssl.ThreadedTests.test_got_eof",
        "reads from the private C object below an SSLSocket, which with a time-out waits by itself: "
        "here it never waits, and the methods of SSLSocket do",
        versions=("3.14", "3.15"),
    ),
)


def rows_for(version: str, module: str, rows: Iterable[Row] = EXPECTED) -> list[Row]:
    return [row for row in rows if row.applies(version) and row.is_about(module)]
