"""Children of `multiprocessing`: patched like their parent, however they are started."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import run_python

PROGRAM = """
import multiprocessing, sys, threading, time

def work(number):
    import greenify
    start = time.monotonic()
    threads = [threading.Thread(target=time.sleep, args=(0.2,)) for _ in range(50)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    assert time.monotonic() - start < 8  # one after the other: ten
    return number * 2, [name for name in greenify.ORDER if not greenify.is_patched(name)]

if __name__ == "__main__":
    import greenify
    context = multiprocessing.get_context(sys.argv[1])
    with context.Pool(2) as pool:
        print(pool.map(work, range(3)))
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    return path


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
class TestPool:
    def test_children_are_patched(self, script: Path, method: str) -> None:
        result = run_python(script, method, check=True)
        assert result.stdout == "[(0, []), (2, []), (4, [])]\n"

    def test_with_the_same_patches(self, script: Path, method: str) -> None:
        result = run_python(script, method, options=["--skip", "asyncio,ssl"], check=True)
        left_out = ["ssl", "asyncio"]
        assert result.stdout == f"{[(n, left_out) for n in (0, 2, 4)]}\n"


class TestSpawn:
    def test_greenify_is_found_where_the_parent_has_found_it(self, tmp_path: Path) -> None:
        program = tmp_path / "program.py"
        program.write_text(
            "import sys, greenify\n"
            "greenify.patch_all()\n"
            "def work(connection):\n"
            "    connection.send('greenify' in sys.modules)\n"
            "if __name__ == '__main__':\n"
            "    from pathlib import Path\n"
            "    home = str(Path(greenify.__file__).parent.parent)\n"
            "    import os\n"
            "    os.environ.pop('PYTHONPATH')\n"
            "    sys.path[:] = [p for p in sys.path if p != home]\n"
            "    import multiprocessing\n"
            "    context = multiprocessing.get_context('spawn')\n"
            "    ours, theirs = context.Pipe()\n"
            "    process = context.Process(target=work, args=(theirs,))\n"
            "    process.start()\n"
            "    print(ours.recv())\n"
            "    process.join()\n"
        )
        assert run_python(program, greenify=False, check=True).stdout == "True\n"

    def test_restore(self) -> None:
        run_python(
            """
            import greenify
            greenify.patch_all()
            import multiprocessing.spawn as spawn
            assert "greenify" in spawn.get_preparation_data("x")
            greenify.restore()
            assert "greenify" not in spawn.get_preparation_data("x")
            """,
            greenify=False,
            check=True,
        )
