"""The names that the operating system shows of threads (`_thread.set_name`, from CPython 3.14 on)."""

from __future__ import annotations

import sys

import pytest

from tests.green.programs import both_modes, run
from tests.support import Mode

pytestmark = pytest.mark.skipif(
    sys.version_info < (3, 14), reason="CPython 3.14 has brought set_name"
)


@both_modes
def test_names_as_the_kernel_keeps_them(mode: Mode) -> None:
    """Cut in the middle of a character, at a null byte, or what cannot be encoded."""
    run(
        r"""
    import _thread
    names = {
        "worker": "worker",
        "x" * 20: "x" * 15,
        "a\0b": "a",
        "xx" + "\u20ac" * 5: "xx" + "\u20ac" * 4 + "\udce2",
        "a\ud800b": "a?b",
    }
    found = []
    for name in names:
        thread = threading.Thread(target=lambda: found.append(_thread._get_name()), name=name)
        thread.start()
        thread.join()
    assert found == list(names.values()), found
    """,
        mode,
    )


def test_the_process_keeps_its_name() -> None:
    run(
        """
    import _thread
    def name():
        with open("/proc/self/comm") as file:
            return file.read()
    before = name()
    def work():
        assert _thread._get_name() == "worker"
        _thread.set_name("other")
        assert _thread._get_name() == "other"
        assert name() == before
    thread = threading.Thread(target=work, name="worker")
    thread.start()
    thread.join()
    assert name() == before
    """,
        "patch_all",
    )
