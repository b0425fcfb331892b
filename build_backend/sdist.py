"""pyuv's sdist as published: fetched once through pip, and never used unless its sha256 is the known one."""

import hashlib
import os
import subprocess
import sys
import tempfile

from build_backend.checks import BuildError

VERSION = "1.4.0"
SHA256 = "caea2004d1125fe17cbde3c211c8abc72844e9b8dd7dfa007711e98fbc96fbc2"
NAME = "pyuv-%s.tar.gz" % VERSION
# In the source tree, where git ignores it and greenify's own sdist includes it.
PATH = os.path.join(os.path.dirname(os.path.abspath(__file__)), NAME)


def _sha256(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def _pip():
    """The command that runs pip, or None where there is none."""
    # An isolated build environment hides the pip that made it; -I makes Python look past that.
    for flags in (["-I"], []):
        command = [sys.executable] + flags + ["-m", "pip"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        if subprocess.call(command + ["--version"], **quiet) == 0:
            return command
    return None


def _download(pip, folder, *args):
    """Run ``pip download``; its settings are the user's own (files and PIP_* variables).

    Returns:
        None on success, else what pip said, ending with its error.
    """
    options = ["--disable-pip-version-check", "--no-input", "--no-deps", "--dest", folder]
    # Without what the pip that runs this build tells its backend: this pip may have a backend to run, too.
    private = ["_PYPROJECT_HOOKS_", "PEP517_", "PIP_BUILD_TRACKER"]
    if "-I" in pip:
        # And without the path that hides from the build what belongs to this pip, setuptools for one.
        private.append("PYTHON")
    env = {name: value for name, value in os.environ.items() if not name.startswith(tuple(private))}
    # pyuv's metadata comes from a setuptools of its own, whichever the environment has.
    env["PIP_USE_PEP517"] = "1"
    done = subprocess.run(
        pip + ["download"] + options + list(args),
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    if done.returncode == 0:
        return None
    return done.stdout.decode(errors="replace").strip() or "pip exited with %d" % done.returncode


def _index_error(what, said):
    lines = said.splitlines()
    # After "ERROR: Exception:" there is a traceback, which ends with the reason.
    errors = [
        line for line in lines if line.startswith("ERROR:") and line != "ERROR: Exception:"
    ] or lines
    return BuildError(
        "pip could not get %s from a package index or folder: %s" % (what, errors[-1]),
        "Check the network and pip's settings ('pip config list', PIP_NO_INDEX); options given to 'pip "
        "install' do not reach this step: use PIP_INDEX_URL or PIP_FIND_LINKS.",
        "Without an index: PIP_FIND_LINKS=/a/folder that holds %s and the wheels of setuptools and greenlet."
        % NAME,
        "Or install a wheel of greenify built elsewhere ('pip wheel .'): that needs only greenlet.",
    )


def check_index(requirement):
    """Where the user forbade the index, make sure that `requirement` can be had all the same.

    pip would say so too, but without the remedy.  In the usual case this costs nothing: pip is about to
    fetch the requirement anyway.
    """
    if os.environ.get("PIP_NO_INDEX", "").lower() in ("", "0", "false", "no", "off"):
        return
    pip = _pip()
    if pip is not None:
        with tempfile.TemporaryDirectory() as folder:
            said = _download(pip, folder, requirement)
        if said is not None:
            raise _index_error(requirement, said)


def fetch(optional=False):
    """Make sure that the published sdist is at `PATH`.

    Args:
        optional: return False, instead of raising, where there is no pip to fetch it with.
    """
    if os.path.exists(PATH) and _sha256(PATH) == SHA256:
        return True
    pip = _pip()
    if pip is None:
        if optional:
            return False
        raise BuildError("there is no pip to fetch %s with." % NAME, "Run: python -m ensurepip")
    with tempfile.TemporaryDirectory(dir=os.path.dirname(PATH)) as folder:
        wanted = os.path.join(folder, "requirements.txt")
        with open(wanted, "w") as file:
            file.write("pyuv==%s --hash=sha256:%s\n" % (VERSION, SHA256))
        said = _download(
            pip, folder, "--no-binary", "pyuv", "--require-hashes", "--requirement", wanted
        )
        if said is not None:
            raise _index_error("%s, which greenify compiles and bundles," % NAME, said)
        found = os.path.join(folder, NAME)
        if _sha256(found) != SHA256:
            raise BuildError("%s is not the published one (sha256 %s)." % (NAME, _sha256(found)))
        # Atomic: several builds may run in one tree.
        os.replace(found, PATH)
    return True
