"""Run Python programs in child processes, plain or under greenify, so that a hang explains itself.

Anything that patches a process is tested in a child: the test process itself stays unpatched.

    result = run_python("import time; time.sleep(0.01); print('ok')", check=True)
    result = run_python(EXAMPLES / "crawler.py", url, greenify=False)

    with running_python(EXAMPLES / "echo_server.py") as server:
        address = server.readline()

A child that outlives its timeout is asked for the stacks of its threads and greenlets (SIGUSR2, see
`tests/_child/sitecustomize.py`), then for those of its native threads (SIGABRT, faulthandler), then
killed with all its children; everything it said ends up in the failure's message.
"""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import subprocess
import sys
import sysconfig
import textwrap
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Literal

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
CHILD_SITE = Path(__file__).resolve().parent / "_child"

# A shell starts what runs in its background with SIGINT ignored, and our children would inherit that.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

#: How the child is made cooperative: not at all, by the launcher, or by a call at its first line.
Mode = Literal[False, True, "patch_all"]

# Settings of the person's own shell that would change what the child's HTTP clients do.
_FOREIGN_SETTINGS = frozenset(
    {
        "all_proxy",
        "http_proxy",
        "https_proxy",
        "no_proxy",
        "curl_ca_bundle",
        "requests_ca_bundle",
        "ssl_cert_dir",
        "ssl_cert_file",
        "netrc",
        "pythonpath",
        "pythonwarnings",
        # Of a server that tests: pytest then prints failures whole in its summary, once more.
        "build_number",
        "ci",
    }
)

_RUN_PATH = (
    "import greenify; greenify.patch_all()\n"
    "import os, runpy, sys\n"
    "del sys.argv[0]\n"
    "sys.path[0] = os.path.dirname(os.path.abspath(sys.argv[0]))\n"
    "runpy.run_path(sys.argv[0], run_name='__main__')\n"
)


def child_env(env: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for a child: this one, without proxies and certificate settings, plus `env`.

    The child imports greenify from wherever this process would import it.
    """
    result = {k: v for k, v in os.environ.items() if k.lower() not in _FOREIGN_SETTINGS}
    paths = [str(CHILD_SITE)]
    spec = find_spec("greenify")
    package = Path(spec.origin).resolve().parent if spec and spec.origin else ROOT / "greenify"
    installed = {Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib")}
    if package.parent not in installed:
        paths.append(str(package.parent))
    # Programs print in signal handlers, where a buffered object refuses to be entered once more.
    result["PYTHONUNBUFFERED"] = "1"
    # Of the extra "hosts": it warns in every run of pytest that does not configure it.
    result["PYTEST_ADDOPTS"] = "-p no:asyncio"
    result.update(env or {})
    if "PYTHONPATH" in result:
        paths.append(result["PYTHONPATH"])
    result["PYTHONPATH"] = os.pathsep.join(paths)
    return result


def command_line(
    code_or_path: str | Path,
    *args: object,
    greenify: Mode = True,
    python: str | Path = sys.executable,
    options: Sequence[str] = (),
) -> list[str]:
    """The command that runs `code_or_path` (a Path, a one-line name ending in .py, or source code).

    `options` go to the launcher (or, with `greenify=False`, to Python itself).
    """
    is_path = isinstance(code_or_path, Path) or (
        code_or_path.endswith(".py") and "\n" not in code_or_path
    )
    what = [str(code_or_path)] if is_path else ["-c", textwrap.dedent(str(code_or_path))]
    command = [str(python), "-W", "error", "-X", "faulthandler"]
    if greenify is False:
        # What CPython 3.12 and later say of a fork beside threads; with the patch there are none.
        command += ["-W", "ignore:This process:DeprecationWarning"]
    # What CPython 3.15 says of `__main__` when it prints a traceback.
    command += ["-W", "ignore:Module globals is missing:DeprecationWarning"]
    if greenify is True:
        command += ["-m", "greenify", *options, *what]
    elif greenify is False:
        command += [*options, *what]
    elif is_path:
        command += [*options, "-c", _RUN_PATH, *what]
    else:
        command += [*options, "-c", "import greenify; greenify.patch_all()\n" + what[1]]
    return command + [str(arg) for arg in args]


def fork_with_terminal() -> tuple[int, int]:
    """`pty.fork`, for a child that executes something at once.

    From CPython 3.12 on a fork warns of other threads, and there is one that ends a test that hangs.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "This process", DeprecationWarning)
        return pty.fork()


def run_python(
    code_or_path: str | Path,
    *args: object,
    greenify: Mode = True,
    python: str | Path = sys.executable,
    timeout: float = 60,
    env: Mapping[str, str] | None = None,
    cwd: str | Path | None = None,
    input: str | None = None,
    options: Sequence[str] = (),
    check: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end and return what it printed; warnings in it are errors.

    `code_or_path` is source code (dedented) or a script. `timeout` is in seconds; a child that
    needs longer fails the test with all its stacks. `check=True` fails the test when the exit code
    is not 0.
    """
    command = command_line(code_or_path, *args, greenify=greenify, python=python, options=options)
    process = _start(command, env, cwd, stdin=subprocess.PIPE)
    try:
        stdout, stderr = process.communicate(input or "", timeout=timeout)
    except subprocess.TimeoutExpired:
        stdout, stderr = _autopsy(process)
        raise AssertionError(
            _describe(f"no end after {timeout} s", command, stdout, stderr)
        ) from None
    finally:
        _kill(process)
    result = subprocess.CompletedProcess(command, process.returncode, stdout, stderr)
    if check and result.returncode != 0:
        raise AssertionError(_describe(f"exit code {result.returncode}", command, stdout, stderr))
    return result


class RunningPython:
    """A child that is still running; two threads collect its output, so that it never blocks."""

    def __init__(self, command: list[str], process: subprocess.Popen[str], timeout: float) -> None:
        self.command = command
        self.process = process
        self.timeout = timeout
        self._lines: list[str] = []
        self._errors: list[str] = []
        self._read = 0
        self._ended = 0
        self._changed = threading.Condition()
        self._readers = [
            threading.Thread(target=self._collect, args=(process.stdout, self._lines), daemon=True),
            threading.Thread(
                target=self._collect, args=(process.stderr, self._errors), daemon=True
            ),
        ]
        for reader in self._readers:
            reader.start()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def stderr(self) -> str:
        """All of the standard error so far; complete after `wait()`."""
        return "".join(self._errors)

    @property
    def stdout(self) -> str:
        """All of the standard output so far, lines read included; complete after `wait()`."""
        return "".join(self._lines)

    def readline(self, timeout: float | None = None) -> str:
        """The next line of standard output, without its newline; fails the test when none comes."""
        with self._changed:
            self._changed.wait_for(
                lambda: len(self._lines) > self._read or self._ended == 2, timeout or self.timeout
            )
            if len(self._lines) > self._read:
                self._read += 1
                return self._lines[self._read - 1].rstrip("\n")
        raise self.failure("no further line of output")

    def wait_for_error(self, text: str, timeout: float | None = None) -> None:
        """Wait until `text` stands in the standard error; fails the test when it does not come."""
        with self._changed:
            if self._changed.wait_for(
                lambda: text in self.stderr or self._ended == 2, timeout or self.timeout
            ):
                if text in self.stderr:
                    return
        raise self.failure(f"{text!r} does not come in the standard error")

    def send_signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end and return the exit code; no end fails the test with all stacks."""
        try:
            code = self.process.wait(timeout or self.timeout)
        except subprocess.TimeoutExpired:
            raise self.failure(f"no end after {timeout or self.timeout} s") from None
        for reader in self._readers:
            reader.join(self.timeout)
        return code

    def failure(self, why: str) -> AssertionError:
        """An error to raise that holds the child's stacks and output; the child is killed."""
        _ask_for_stacks(self.process, self._wait_quietly)
        _kill(self.process)
        for reader in self._readers:
            reader.join(5)
        return AssertionError(_describe(why, self.command, self.stdout, self.stderr))

    def _wait_quietly(self, seconds: float) -> bool:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
        return self.process.returncode is not None

    def _collect(self, stream: IO[str], lines: list[str]) -> None:
        with stream:
            for line in stream:
                with self._changed:
                    lines.append(line)
                    self._changed.notify_all()
        with self._changed:
            self._ended += 1
            self._changed.notify_all()


@contextlib.contextmanager
def running_python(
    code_or_path: str | Path,
    *args: object,
    greenify: Mode = True,
    python: str | Path = sys.executable,
    timeout: float = 60,
    env: Mapping[str, str] | None = None,
    cwd: str | Path | None = None,
    options: Sequence[str] = (),
) -> Iterator[RunningPython]:
    """Start a program, talk to it, and kill it (and its children) at the end of the block.

    `timeout` (seconds) bounds each `readline()` and `wait()`.
    """
    command = command_line(code_or_path, *args, greenify=greenify, python=python, options=options)
    process = _start(command, env, cwd, stdin=subprocess.DEVNULL)
    child = RunningPython(command, process, timeout)
    try:
        yield child
    finally:
        _kill(process)
        for reader in child._readers:
            reader.join(5)


def _start(
    command: list[str],
    env: Mapping[str, str] | None,
    cwd: str | Path | None,
    stdin: int,
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="backslashreplace",
        env=child_env(env),
        cwd=cwd,
        # A process group: killing it takes its children along, and the terminal's Ctrl-C spares it.
        start_new_session=True,
    )


def _autopsy(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Make a hung child say where it hangs, end it, and return all of its output."""

    def ended(seconds: float) -> bool:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=seconds)
            return True
        return False

    _ask_for_stacks(process, ended)
    _kill(process)
    # Output kept open by a child of the child in a session of its own is not waited for.
    try:
        return process.communicate(timeout=5)
    except subprocess.TimeoutExpired as late:
        return _text(late.stdout), _text(late.stderr)


def _ask_for_stacks(process: subprocess.Popen[str], ended: Callable[[float], bool]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGUSR2)
        if not ended(1):
            process.send_signal(signal.SIGABRT)
            ended(5)


def _kill(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _describe(why: str, command: list[str], stdout: str, stderr: str) -> str:
    shown = " ".join(command)
    return f"{why}: {shown}\n--- stdout\n{stdout}\n--- stderr\n{stderr}"


def _text(output: str | bytes | None) -> str:
    return output.decode("utf-8", "backslashreplace") if isinstance(output, bytes) else output or ""


def switches(pid: int) -> int:
    """How often a process has gone to sleep; -1 while it is awake."""
    status = Path(f"/proc/{pid}/status").read_text()
    if "\nState:\tS" not in status:
        return -1
    return int(status.split("\nvoluntary_ctxt_switches:")[1].split()[0])


def wait_until_asleep(pid: int) -> int:
    """Wait until a process sits in a system call: natively, one that a signal only precedes goes on."""
    before = -1
    while (now := switches(pid)) != before or now == -1:
        before = now
        time.sleep(0.02)
    return now
