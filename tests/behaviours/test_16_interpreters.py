"""16. Interpreters beside the main one: they run while the threads of the main one do, and wait for them."""

from __future__ import annotations

import sys

import pytest

from tests.behaviours.scenario import BOTH, check
from tests.support import Mode

pytestmark = pytest.mark.skipif(
    sys.version_info < (3, 14), reason="CPython 3.14 has brought concurrent.interpreters"
)


@BOTH
def test_one_that_waits_for_a_thread(mode: Mode) -> None:
    code = """
    from concurrent import interpreters
    questions, answers = interpreters.create_queue(), interpreters.create_queue()
    interpreter = interpreters.create()
    interpreter.prepare_main(questions=questions, answers=answers)
    source = '''if True:
        answers.put("ready")
        for _ in range(3):
            answers.put(questions.get(timeout=30) + 1)
    '''
    call = Call(interpreter.exec, source)
    assert answers.get(timeout=30) == "ready"
    assert interpreter.is_running()
    for number in range(3):
        questions.put(number)
        assert answers.get(timeout=30) == number + 1
    call.result()
    assert not interpreter.is_running()
    interpreter.close()
    assert interpreters.list_all() == [interpreters.get_main()]
    """
    check(code, mode)


@BOTH
def test_calls_and_errors(mode: Mode) -> None:
    code = """
    from concurrent import interpreters
    interpreter = interpreters.create()
    assert interpreter.call(divmod, 7, 2) == (3, 1)
    assert interpreter.call(int, "ff", base=16) == 255
    try:
        interpreter.exec("1 / 0")
    except interpreters.ExecutionFailed as exc:
        assert exc.excinfo.type.__name__ == "ZeroDivisionError"
    else:
        raise AssertionError
    # What it has is kept from one call to the next; a thread of ours may use it.
    interpreter.exec("kept = [1]; kept.append(kept)")
    queue = interpreters.create_queue()
    interpreter.prepare_main(queue=queue)
    thread = interpreter.call_in_thread(exec, "import __main__; __main__.queue.put(len(__main__.kept))")
    thread.join(30)
    assert queue.get(timeout=30) == 2
    # While one runs in there, another call is refused.
    go = interpreters.create_queue()
    interpreter.prepare_main(go=go)
    call = Call(interpreter.exec, "queue.put(1); go.get(timeout=30)")
    assert queue.get(timeout=30) == 1
    try:
        interpreter.exec("pass")
    except interpreters.InterpreterError as exc:
        assert "running" in str(exc), exc
    else:
        raise AssertionError
    go.put(None)
    call.result()
    interpreter.close()
    try:
        interpreter.exec("pass")
    except interpreters.InterpreterNotFoundError:
        pass
    else:
        raise AssertionError
    """
    check(code, mode)


@BOTH
def test_pool(mode: Mode) -> None:
    """Its interpreters run at once: two tasks talk to each other."""
    code = """
    from concurrent import interpreters
    from concurrent.futures import InterpreterPoolExecutor
    ping, pong = interpreters.create_queue(), interpreters.create_queue()

    def talk(mine, theirs):
        theirs.put("hello")
        return mine.get(timeout=30)

    with InterpreterPoolExecutor(2) as pool:
        assert list(pool.map(pow, [2, 3], [10, 2])) == [1024, 9]
        one = pool.submit(exec, "import __main__; raise KeyError(1)")
        assert type(one.exception(30)).__name__ == "KeyError"
        talks = [pool.submit(talk, ping, pong), pool.submit(talk, pong, ping)]
        assert [each.result(30) for each in talks] == ["hello"] * 2
    """
    check(code, mode)


@BOTH
def test_the_name_of_the_thread_that_runs_it(mode: Mode) -> None:
    """What another interpreter asks the operating system for is the caller's name."""
    code = """
    import _thread
    from concurrent import interpreters
    interpreter = interpreters.create()

    def name():
        import _thread
        return _thread._get_name()

    mine = name()
    assert interpreter.call(name) == mine
    found = []
    thread = threading.Thread(target=lambda: found.append(interpreter.call(name)), name="the caller of it")
    thread.start()
    thread.join()
    assert found == ["the caller of it"[: _thread._NAME_MAXLEN]], found
    assert interpreter.call(name) == mine
    interpreter.close()
    """
    check(code, mode)
