"""How gevent comes to use the loop."""

from __future__ import annotations

import pytest

from tests.integrations.gevent_loop import run_gevent
from tests.support import run_python


@pytest.mark.smoke
def test_by_the_environment() -> None:
    result = run_gevent("""
        from gevent import monkey; monkey.patch_all()
        import gevent, gevent.core
        print(type(gevent.get_hub().loop).__module__, gevent.core.loop is type(gevent.get_hub().loop))
        gevent.sleep(0.001)
        gevent.spawn(print, 'spawned').join()
        print(gevent.core.get_version().split('-')[0])
    """)
    assert result.stdout.splitlines() == [
        "greenify.integrations.gevent.loop True",
        "spawned",
        "greenify",
    ]


def test_by_install() -> None:
    result = run_python(
        """
        import greenify.integrations.gevent
        greenify.integrations.gevent.install()
        import gevent, threading
        print(type(gevent.get_hub().loop).__module__)
        gevent.sleep(0.001)
        seen = []
        def other():
            gevent.sleep(0.001)
            seen.append(type(gevent.get_hub().loop).__module__)
            gevent.get_hub().destroy()
        thread = threading.Thread(target=other)
        thread.start(); thread.join()
        print(seen)
        """,
        greenify=False,
        check=True,
    )
    assert result.stdout.splitlines() == [
        "greenify.integrations.gevent.loop",
        "['greenify.integrations.gevent.loop']",
    ]


def test_install_comes_too_late() -> None:
    result = run_python(
        """
        import gevent, greenify, greenify.integrations.gevent
        gevent.get_hub()
        try:
            greenify.integrations.gevent.install()
        except greenify.HubError as exc:
            print(exc)
        """,
        greenify=False,
        env={"GEVENT_LOOP": "libev-cext"},
        check=True,
    )
    assert "gevent.libev.corecext" in result.stdout
    assert "call install() before" in result.stdout


def test_beside_patch_all() -> None:
    """greenify's threads and gevent's greenlets in one program."""
    result = run_gevent("""
        import greenify; greenify.patch_all()
        import threading, time, gevent
        order = []
        met = threading.Event()
        def thread():
            met.wait()
            time.sleep(0.001)
            order.append('thread')
        started = threading.Thread(target=thread); started.start()
        def greenlet():
            gevent.sleep(0.005)
            order.append('greenlet')
            met.set()
            started.join()
            order.append('joined')
        gevent.spawn(greenlet).join()
        print(order)
    """)
    assert result.stdout == "['greenlet', 'thread', 'joined']\n"
