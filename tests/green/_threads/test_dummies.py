"""A task that asks for its Thread object leaves none behind."""

from __future__ import annotations

import pytest

from tests.green.programs import run

PROGRAM = """
    import gc, logging
    import greenify

    logging.basicConfig(level="INFO", stream=open(os.devnull, "w"))
    names = set()

    def work(number):
        logging.info("at work")
        first = threading.current_thread()
        greenify.sleep(0)
        assert threading.current_thread() is first and first.is_alive()
        assert threading._active[threading.get_ident()] is first
        names.add(type(first).__name__)
        if number % 3 == 0:
            raise greenify.TaskExit
        if number % 3 == 1:
            greenify.sleep(LONG)

    tasks = [greenify.spawn(work, number) for number in range(60)]
    while len(names) < 1 or any(task.alive for task in tasks[::3]):
        greenify.sleep(0)
    for task in tasks:
        task.kill()
    for task in tasks:
        task.join()
    assert names == {"_DummyThread"}
    assert threading.enumerate() == [threading.main_thread()], threading.enumerate()
    del tasks, task  # with the tracebacks of their errors
    gc.collect()
    assert list(threading._dangling) == [threading.main_thread()]
"""


@pytest.mark.parametrize("which", ["import threading", "from greenify.green import threading"])
def test_gone_with_the_task(which: str) -> None:
    if "green" in which:
        program = PROGRAM.replace(
            "import gc, logging", "import gc, logging\n    from greenify.green import threading"
        ).replace('logging.info("at work")', "pass")
        run(program, False)
    else:
        run(PROGRAM, "patch_all")


def test_not_after_the_patch_is_undone() -> None:
    run(
        """
        import greenify
        from greenify.identity import on_task_end

        greenify.patch_all()
        assert len(on_task_end) == 1
        greenify.restore()
        assert on_task_end == []
        """,
        False,
    )
