"""What the program has frozen is found all the same, by what looks for objects from before a patch."""

from __future__ import annotations

import gc
import textwrap
import weakref
from collections.abc import Iterator

import pytest

from greenify.core.collector import thawed
from tests.support import run_python


class Ring:
    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def _unfrozen() -> Iterator[None]:
    yield
    gc.unfreeze()
    gc.enable()


def test_frozen_objects_are_seen_in_the_block() -> None:
    ring = Ring()
    gc.freeze()
    assert not any(each is ring for each in gc.get_objects())
    with thawed():
        assert any(each is ring for each in gc.get_objects())
        with thawed():
            assert any(each is ring for each in gc.get_objects())
    assert not any(each is ring for each in gc.get_objects())


@pytest.mark.parametrize("enabled", [True, False])
def test_garbage_is_not_frozen_unless_nobody_collects(enabled: bool) -> None:
    gc.freeze()
    if not enabled:
        gc.disable()
    with thawed():
        gone = weakref.ref(Ring())
    assert (gone() is None) == enabled


def test_an_error_leaves_it_frozen() -> None:
    gc.freeze()
    with pytest.raises(ZeroDivisionError), thawed():
        raise ZeroDivisionError
    assert gc.get_freeze_count() > 10_000


def test_where_nothing_is_frozen_nothing_is() -> None:
    before = gc.get_freeze_count()
    with thawed():
        pass
    assert gc.get_freeze_count() == before


def test_the_engine_is_renewed_first_in_a_child() -> None:
    done = run_python(
        textwrap.dedent("""
        import gc, os
        os.register_at_fork(after_in_child=lambda: print(hub is greenify.core.get_hub(), flush=True))
        gc.freeze()
        import greenify.core
        hub = greenify.core.get_hub()
        if not os.fork():
            os._exit(0)
        os.wait()
        """),
        greenify=False,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("False\n", "")


def test_sockets_are_given_back() -> None:
    done = run_python(
        textwrap.dedent("""
        import gc, socket
        import greenify
        greenify.patch_all()
        kept = {"pair": socket.socketpair()}
        kept["pair"][0].settimeout(5)
        gc.freeze()
        greenify.restore()
        print(kept["pair"][0].gettimeout(), gc.get_freeze_count() > 10_000)
        for each in kept["pair"]:
            each.close()
        """),
        greenify=False,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("5.0 True\n", "")
