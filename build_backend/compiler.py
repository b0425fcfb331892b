"""Compile the published pyuv for the running interpreter, once: the result is kept under build/pyuv/."""

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile

from build_backend import checks, sdist

_HERE = os.path.dirname(os.path.abspath(__file__))
# In the environment: compile for this machine and C library (x86_64-linux-musl); see `dist.py`.
TARGET = "GREENIFY_BUILD_TARGET"
_CACHE = os.path.join(os.path.dirname(_HERE), "build", "pyuv")
_HEADER = "pyuv_compat.h"
# Besides the compiled module, what the wheel carries of pyuv's sdist.
NOTICES = ("LICENSE", "AUTHORS")

# -w: the warnings of someone else's C are of no use to who installs greenify.
# -g0: the debug information would be three quarters of the wheel.
_CFLAGS = "-O2 -g0 -w -include " + _HEADER
# The module exports libuv's functions.  Bind its calls to its own: another libuv in the process (uvloop, a
# pyuv of the user's, a library loaded with RTLD_GLOBAL) has other structures under the same names.
_LDFLAGS = "-Wl,-Bsymbolic" if sys.platform.startswith("linux") else ""


def _join(*flags):
    return " ".join(flag for flag in flags if flag)


def _environment():
    env = dict(os.environ)
    env["CFLAGS"] = _join(env.get("CFLAGS"), _CFLAGS)
    env["LDFLAGS"] = _join(env.get("LDFLAGS"), _LDFLAGS)
    return env


def suffix():
    """The suffix of modules compiled for the target: the interpreter's own, or that of another machine.

    It names the interpreter and the machine, as every CPython of that machine expects it.
    """
    target = os.environ.get(TARGET)
    if not target:
        return sysconfig.get_config_var("EXT_SUFFIX")
    return ".cpython-%d%d-%s.so" % (tuple(sys.version_info[:2]) + (target,))


def module_name():
    """The file name of the compiled module; it names the interpreter, so that several share one folder."""
    return "_cpyuv" + suffix()


def _key():
    """What the result depends on."""
    with open(os.path.join(_HERE, _HEADER)) as file:
        header = file.read()
    env = _environment()
    parts = [sdist.SHA256, header, sys.version, sysconfig.get_platform()]
    parts += [
        env.get(name, "")
        for name in ("CC", "CPPFLAGS", "CFLAGS", "LDFLAGS", "LDSHARED", "ARCHFLAGS")
    ]
    parts += [str(sysconfig.get_config_var(name)) for name in ("CC", "CFLAGS", "LDSHARED")]
    parts.append(suffix())
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def folder():
    """Where the result is, or will be: the compiled module and pyuv's notices."""
    return os.path.join(_CACHE, "%s-%s" % (suffix().split(".")[1], _key()))


def is_built():
    return os.path.exists(os.path.join(folder(), module_name()))


def _unpack(into):
    with tarfile.open(sdist.PATH) as archive:
        # The content is known (sha256); the filter only keeps newer Pythons from warning.
        kwargs = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        archive.extractall(into, **kwargs)
    return os.path.join(into, "pyuv-" + sdist.VERSION)


def _compile(source, out):
    shutil.copy(os.path.join(_HERE, _HEADER), source)
    command = [sys.executable, "-W", "ignore", "setup.py", "build_ext", "--build-lib", out]
    done = subprocess.run(
        command,
        # The relative name of the header in CFLAGS is looked up here; an absolute one could have spaces.
        cwd=source,
        env=_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    if done.returncode == 0:
        return
    last = done.stdout.decode(errors="replace").strip().splitlines()[-25:]
    newest = "CPython %d.%d to %d.%d" % (checks.MINIMUM + checks.NEWEST_TESTED)
    raise checks.BuildError(
        "its event loop library (pyuv %s) did not compile. The compiler's last lines:\n\n    %s\n"
        % (sdist.VERSION, "\n    ".join(last)),
        "Check the compiler, and CC, CFLAGS and LDFLAGS if you set them.",
        "greenify is tested with %s on Linux; this is %d.%d on %s."
        % ((newest,) + tuple(sys.version_info[:2]) + (sysconfig.get_platform(),)),
        "Or install a wheel of greenify built elsewhere ('pip wheel .'): that needs no compiler.",
    )


def _name_libc(folder):
    """Have the module for musl ask for it by the name that it has, with the machine, in distributions."""
    target = os.environ.get(TARGET, "")
    if target.endswith("-musl"):
        name = "libc.musl-%s.so.1" % target.partition("-")[0]
        [module] = [each for each in os.listdir(folder) if each.startswith("_cpyuv.")]
        command = ["patchelf", "--replace-needed", "libc.so", name, os.path.join(folder, module)]
        subprocess.check_call(command)


def build():
    """Compile pyuv, unless that was done before with the same interpreter, compiler settings and header."""
    if is_built():
        return
    checks.check_compiler()
    sdist.fetch()
    os.makedirs(_CACHE, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=_CACHE) as scratch:
        source = _unpack(scratch)
        out = os.path.join(scratch, "out")
        _compile(source, out)
        result = os.path.join(out, "pyuv")
        for name in NOTICES:
            shutil.copy(os.path.join(source, name), result)
        _name_libc(result)
        made = os.path.join(result, "_cpyuv" + sysconfig.get_config_var("EXT_SUFFIX"))
        os.rename(made, os.path.join(result, module_name()))
        try:
            os.rename(result, folder())
        except OSError:
            # Another build in this tree was faster; its result is as good.
            if not is_built():
                raise
