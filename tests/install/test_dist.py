"""What `make dist` builds: in `dist/`, or what it builds now.

Takes minutes: `.ci/run` makes the wheels of this machine for every Python first.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
import zipfile
from pathlib import Path

import pytest

from build_backend import checks, sbom
from greenify._version import __version__
from tests.install.tools import Venv, check_installation, run, site_packages, succeed
from tests.support import ROOT

pytestmark = [pytest.mark.matrix, pytest.mark.timeout(600), pytest.mark.xdist_group("dist")]

VERSIONS = [f"3.{minor}" for minor in range(checks.MINIMUM[1], checks.NEWEST_TESTED[1] + 1)]
MACHINE = ("--target", "x86_64-linux-gnu")


def _build(to: Path, *options: str) -> None:
    succeed(sys.executable, "-m", "build_backend.dist", "--to", to, *options, cwd=ROOT)


@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the sdist and this machine's wheels."""
    pytest.importorskip("ziglang", reason="pip install -e '.[dist]'")
    made = ROOT / "dist"
    if len(list(made.glob(f"greenify-{__version__}-*-manylinux2014_x86_64.*"))) == len(VERSIONS):
        return made
    to = tmp_path_factory.mktemp("dist")
    _build(to, *MACHINE)
    return to


def _wheel(dist: Path, version: str, policy: str = "manylinux2014_x86_64") -> Path:
    tag = "cp" + version.replace(".", "")
    [found] = dist.glob(f"greenify-{__version__}-{tag}-{tag}-*{policy}*.whl")
    return found


@pytest.fixture(scope="session")
def greenlet(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with greenlet's wheels, for the installation without an index."""
    return tmp_path_factory.mktemp("greenlet")


@pytest.mark.parametrize("version", VERSIONS)
def test_installs_without_compiler_and_index(
    version: str, dist: Path, greenlet: Path, tmp_path: Path
) -> None:
    python = succeed(ROOT / ".ci" / "find-python", version).strip()
    venv = Venv.make(tmp_path / "venv", python)
    done = venv.pip("download", "--only-binary", ":all:", "--dest", greenlet, "greenlet")
    assert done.returncode == 0, done.stdout
    env = {"PATH": str(venv.path / "bin"), "CC": "/nonexistent", "PIP_NO_INDEX": "1"}
    venv.install("--find-links", greenlet, _wheel(dist, version), env=env)
    check_installation(venv, files_in=site_packages(venv))
    tag = "cp" + version.replace(".", "")
    said = succeed(venv.python, "-m", "greenify", "--version")
    assert said.startswith(f"greenify  {__version__} (wheel {tag}-{tag}-")
    assert f"{tag}-{tag}-manylinux2014_x86_64" in said.partition("\n")[0]


def _sums(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_two_builds_are_equal(dist: Path, tmp_path: Path) -> None:
    if dist == ROOT / "dist" and succeed("git", "status", "--porcelain", cwd=ROOT):
        pytest.skip("dist/ may have been built from other sources: the tree has changes")
    _build(tmp_path, "--python", "3.11", *MACHINE)
    built, there = _sums(tmp_path), _sums(dist)
    # By their sums: a difference of two archives says nothing, and takes minutes to show.
    assert built == {name: there[name] for name in built}


# By the name of the target: what the wheel says that it runs on, and the machine in the header of its module.
OTHERS = {
    "aarch64-linux-gnu": ("manylinux2014_aarch64", 183),  # EM_AARCH64
    "aarch64-linux-musl": ("musllinux_1_2_aarch64", 183),
    "x86_64-linux-musl": ("musllinux_1_2_x86_64", 62),  # EM_X86_64
}


def test_other_machines(tmp_path: Path) -> None:
    """Only built; `test_on_aarch64` runs one of them."""
    pytest.importorskip("ziglang", reason="pip install -e '.[dist]'")
    _build(tmp_path, "--python", "3.11", *(f"--target={name}" for name in OTHERS))
    for name, (policy, machine) in OTHERS.items():
        with zipfile.ZipFile(_wheel(tmp_path, "3.11", policy)) as archive:
            module = archive.read(f"greenify/_vendor/pyuv/_cpyuv.cpython-311-{name}.so")
        assert module[:5] == b"\x7fELF\x02"
        assert int.from_bytes(module[18:20], "little") == machine


# What a wheel has to do on another machine: threads, sockets, select, time-outs, slices of time, asyncio.
PROGRAM = """
import platform, sys
import greenify
greenify.patch_all()
import asyncio, queue, select, socket, threading, time

def serve(server):
    for _ in range(50):
        threading.Thread(target=echo, args=(server.accept()[0],)).start()

def echo(connection):
    with connection:
        while data := connection.recv(100):
            connection.sendall(data)

def client(number):
    with socket.create_connection(server.getsockname()) as sock:
        sock.sendall(b"%d" % number)
        done.put(int(sock.recv(100)))

server, done = socket.create_server(("127.0.0.1", 0)), queue.Queue()
threading.Thread(target=serve, args=(server,), daemon=True).start()
for number in range(50):
    threading.Thread(target=client, args=(number,)).start()
assert sorted(done.get(timeout=60) for _ in range(50)) == list(range(50))

here, there = socket.socketpair()
assert select.select([here], [], [], 0.01) == ([], [], [])
there.send(b"x")
assert select.select([here], [], [], 60)[0] == [here]
lock = threading.Lock()
assert lock.acquire() and not lock.acquire(timeout=0.01)

stop = threading.Event()
threading.Timer(0.1, stop.set).start()
while not stop.is_set():
    pass  # a slice of time ends this

async def main():
    return await asyncio.to_thread(socket.getaddrinfo, "127.0.0.1", 80)

assert asyncio.run(main())
print(platform.machine(), greenify.__version__)
"""


@pytest.mark.skipif(
    shutil.which("apt-get") is None, reason="qemu and aarch64's Python are Debian's"
)
def test_on_aarch64(tmp_path: Path) -> None:
    pytest.importorskip("ziglang", reason="pip install -e '.[dist]'")
    _build(tmp_path, "--python", "3.11", "--target", "aarch64-linux-gnu")
    wheel = _wheel(tmp_path, "3.11", "manylinux2014_aarch64")
    said = succeed(ROOT / ".ci" / "aarch64", wheel, "-c", PROGRAM)
    assert said == f"aarch64 {__version__}\n"
    said = succeed(ROOT / ".ci" / "aarch64", wheel, "-m", "greenify", "--version")
    assert "manylinux2014_aarch64" in said.partition("\n")[0]


def test_bill_of_materials(dist: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(_wheel(dist, "3.11")) as archive:
        bill = json.loads(
            archive.read(f"greenify-{__version__}.dist-info/sboms/{sbom.NAME}").decode()
        )
    assert bill["metadata"]["component"]["version"] == __version__
    found = {component["name"]: component["version"] for component in bill["components"]}
    said = run(sys.executable, "-m", "greenify", "--version", cwd=ROOT).stdout
    assert found == dict(re.findall(r"^(pyuv|libuv) +(\S+)", said, re.MULTILINE))


def test_no_path_of_the_builder(dist: Path) -> None:
    with zipfile.ZipFile(_wheel(dist, "3.11")) as archive:
        for name in archive.namelist():
            for path in (os.fsencode(ROOT), b"/tmp/"):
                assert path not in archive.read(name) or name.endswith(".py"), name
