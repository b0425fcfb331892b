"""Can greenify be built here at all?  Each refusal is one message that names the remedy."""

import os
import shlex
import shutil
import sys
import sysconfig

MINIMUM = (3, 10)
NEWEST_TESTED = (3, 15)
_FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))


class BuildError(Exception):
    """greenify cannot be built, for a reason the user can do something about."""

    def __init__(self, problem, *remedies):
        lines = ["greenify cannot be built: " + problem]
        lines += ["  -> " + remedy for remedy in remedies]
        Exception.__init__(self, "\n".join(lines))


def check_platform(
    platform=sys.platform,
    implementation=sys.implementation.name,
    version=tuple(sys.version_info[:2]),
    free_threaded=_FREE_THREADED,
):
    """Refuse the platforms that greenify cannot run on.

    The arguments describe the running interpreter; tests pass others.
    """
    if platform in ("win32", "cygwin"):
        raise BuildError(
            "it does not run on Windows (%s): it waits for descriptors as POSIX systems do."
            % platform,
            "On Windows, install it inside WSL 2 (run 'wsl --install', then pip in the Linux shell).",
        )
    if platform in ("emscripten", "wasi"):
        raise BuildError(
            "it does not run on %s, which has no sockets and threads to wait for." % platform,
            "Use CPython on Linux.",
        )
    wanted = "CPython %d.%d or newer" % MINIMUM
    here = "%s %d.%d (%s)" % ((implementation,) + tuple(version) + (sys.executable,))
    if implementation != "cpython" or tuple(version) < MINIMUM:
        raise BuildError(
            "it needs %s, and this is %s." % (wanted, here),
            "Use pip with a newer CPython, for example: "
            "python3.%d -m venv venv && venv/bin/pip install greenify" % NEWEST_TESTED[1],
        )
    if free_threaded:
        raise BuildError(
            "it needs the GIL, and this is a free-threaded %s." % here,
            "Use the ordinary build of CPython %d.%d." % tuple(version),
        )


def check_compiler():
    """Refuse machines without a C compiler or without Python's headers."""
    command = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")[0]
    if shutil.which(command) is None:
        raise BuildError(
            "there is no C compiler here ('%s' was not found), and its event loop library (pyuv, "
            "with libuv) is compiled." % command,
            "Debian, Ubuntu: apt install gcc libc6-dev python3-dev",
            "Fedora, RHEL: dnf install gcc python3-devel",
            "Alpine: apk add gcc musl-dev linux-headers python3-dev",
            "macOS: xcode-select --install",
            "Another compiler: CC=/path/to/compiler pip install ...",
            "Or install a wheel of greenify built elsewhere ('pip wheel .'): that needs no compiler.",
        )
    header = os.path.join(sysconfig.get_path("include"), "Python.h")
    if not os.path.exists(header):
        raise BuildError(
            "Python's C headers are not installed (%s is missing)." % header,
            "Debian, Ubuntu: apt install python%d.%d-dev" % tuple(sys.version_info[:2]),
            "Fedora, RHEL: dnf install python3-devel",
            "Alpine: apk add python3-dev",
            "Or install a wheel of greenify built elsewhere ('pip wheel .'): that needs no headers.",
        )
