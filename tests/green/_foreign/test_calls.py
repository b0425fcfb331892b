"""Handing over: whose call it is, what becomes of it when the caller is killed, and callbacks."""

from __future__ import annotations

import pytest

from tests.green._foreign.foreign import run


@pytest.mark.smoke
def test_the_others_run_and_the_outcome_comes_back() -> None:
    run("""
gate = Gate()
found = []
thread = start(lambda: found.append(hand_over(gate.wait, value=7)))
until(lambda: gate.begun)
assert thread.is_alive() and not found
gate.open()
thread.join(LONG)
assert found == [7]

error = KeyError("here")
def fail():
    raise error
for function in (hand_over, compute, OwnThread().call):
    try:
        function(fail)
    except KeyError as exc:
        assert exc is error
        tb = exc.__traceback__
        while tb.tb_next is not None:
            tb = tb.tb_next
        assert tb.tb_frame.f_code is fail.__code__
    else:
        raise AssertionError
""")


def test_calls_that_wait_for_one_another_have_a_thread_each() -> None:
    # A pool with a limit would have none left for the one that all others wait for.
    run("""
gate = Gate()
entered = []
def wait():
    entered.append(1)
    gate.lock.acquire()
    gate.lock.release()
threads = [start(hand_over, wait) for _ in range(60)]
until(lambda: len(entered) == 60)
hand_over(gate.open)
for thread in threads:
    thread.join(LONG)
    assert not thread.is_alive()
""")


def test_compute_runs_as_many_as_there_are_processors() -> None:
    run("""
running, most = [], []
def work():
    running.append(1)
    most.append(len(running))
    native_sleep(0.002)
    running.pop()
threads = [start(compute, work) for _ in range(60)]
for thread in threads:
    thread.join(LONG)
assert len(most) == 60 and max(most) <= (os.cpu_count() or 1) + 2, max(most)
""")


@pytest.mark.parametrize("where", ["hand_over", "compute", "OwnThread().call"])
def test_the_call_is_the_callers(where: str) -> None:
    run(f"""
over = {where}
variable = contextvars.ContextVar("variable")
kept = contextvars.ContextVar("kept")
local = threading.local()
lock = threading.RLock()
idents = []

def call():
    idents.append(native.get_ident())
    assert variable.get() == name() and local.value == name()
    assert threading.get_ident() == threading.current_thread().ident
    with lock:      # re-entered: the caller holds it
        pass
    variable.set(name() + "!")
    local.value = local.more = name() + "!"
    return threading.current_thread()

def name():
    return threading.current_thread().name

def work():
    variable.set(name())
    kept.set(name())
    local.value = name()
    with lock:
        assert over(call) is threading.current_thread()
    # Changes are the caller's, too.
    assert variable.get() == name() + "!" == local.value == local.more
    assert kept.get() == name()
    assert not hasattr(local, "x")

work()
threads = [threading.Thread(target=work, name=f"number {{n}}") for n in range(5)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join(LONG)
assert len(idents) == 6 and native.get_ident() not in idents
""")


def test_no_native_thread_is_the_programs() -> None:
    run("""
import threading
real = greenify.original("threading")
def call():
    # Such a look makes a stand-in, which nobody would take away.
    real.current_thread()
    return native.get_ident()
own = OwnThread()
before = threading.enumerate()
count = _thread._count()
gate = Gate()
threads = [start(hand_over, gate.wait), start(own.call, gate.wait)]
until(lambda: len(gate.begun) == 2)
# And the one that time slices by the wall clock have while there are green threads.
assert own_threads() == 3
assert threading.active_count() == 3 and _thread._count() == count + 2
gate.open()
until(lambda: sum(thread.is_alive() for thread in threads) == 1)
gate.open()
for thread in threads:
    thread.join(LONG)
hand_over(call); own.call(call)
assert threading.enumerate() == before and _thread._count() == count
""")


def test_without_a_patch_there_is_no_stand_in_left() -> None:
    from tests.support import run_python

    run_python(
        """
        import threading
        from greenify.green._foreign import hand_over, OwnThread
        own = OwnThread()
        for call in (hand_over, own.call):
            assert call(threading.current_thread) is not threading.main_thread()
        assert threading.enumerate() == [threading.main_thread()]
        """,
        greenify=False,
        check=True,
    )


def test_on_a_native_thread_it_is_a_plain_call() -> None:
    run("""
found = []
def thread():
    me = native.get_ident()
    found.append(hand_over(native.get_ident) == me and compute(native.get_ident) == me)
    # What belongs to an object is its thread's even so.
    found.append(own.call(native.get_ident) == its)
own = OwnThread()
its = own.call(native.get_ident)
done = Gate()
native.start_new_thread(lambda: (thread(), done.open()), ())
until(lambda: len(found) == 2)
assert found == [True, True]
""")


class TestLeaving:
    def test_a_call_without_an_object_is_left_at_once(self) -> None:
        run("""
gate = Gate()
task = greenify.spawn(hand_over, gate.wait, 1)
until(lambda: gate.begun)
task.kill()
assert task.join(LONG) and not gate.lock.acquire(False)
gate.open()
""")

    def test_what_has_not_begun_does_not(self) -> None:
        run("""
from greenify.green._foreign import calls
calls._computing.resize(1)
gate = Gate()
log = []
first = start(compute, gate.wait)
until(lambda: gate.begun)
task = greenify.spawn(compute, log.append, 1)
time.sleep(0)
task.kill()
assert task.join(LONG)
gate.open()
first.join(LONG)
assert compute(int, 3) == 3 and log == []
""")

    @pytest.mark.parametrize("how", ["kill", "timeout"])
    def test_an_objects_call_is_left_when_it_has_ended(self, how: str) -> None:
        run(f"""
own = OwnThread()
gate = Gate()
log = []
def work():
    try:
        if {how!r} == "timeout":
            try:
                with greenify.Timeout(0.001):
                    own.call(gate.wait, 1)
            except greenify.Timeout:
                log.append("time-out")
        else:
            own.call(gate.wait, 1)
    finally:
        log.append("left")
task = greenify.spawn(work)
until(lambda: gate.begun)
if {how!r} == "kill":
    task.kill()
# Somebody else who wants the object comes after it.
other = start(own.call, log.append, "other")
for _ in range(30):
    time.sleep(0.001)
assert log == [] and task.alive
gate.open()
other.join(LONG)
assert task.join(LONG)
assert sorted(log) == ["left", "other"] + ["time-out"] * ({how!r} == "timeout")
""")

    def test_it_can_be_made_to_end_sooner(self) -> None:
        run("""
own = OwnThread()
gate = Gate()
calls = []
def interrupt():
    calls.append(threading.current_thread())
    gate.open()
def work():
    try:
        own.call_interruptibly(interrupt, gate.wait)
    except greenify.TaskExit:
        calls.append("exit")
        raise
task = greenify.spawn(work)
until(lambda: gate.begun)
task.kill()
assert task.join(LONG)
assert len(calls) == 2 and calls[1] == "exit"
assert own.call_interruptibly(interrupt, int, 5) == 5 and len(calls) == 2
""")

    @pytest.mark.parametrize("call", ["hand_over", "own.call"])
    def test_keyboard_interrupt(self, call: str) -> None:
        # As with threads it comes when the call has ended, if that must not be left before.
        run(f"""
own = OwnThread()
gate = Gate()
log = []
def other():
    until(lambda: gate.begun)
    os.kill(os.getpid(), signal.SIGINT)
    for _ in range(20):
        time.sleep(0.001)
    log.append("went on")
    gate.open()
thread = start(other)
try:
    {call}(gate.wait)
except KeyboardInterrupt:
    log.append("interrupt")
thread.join(LONG)
assert log == (["interrupt", "went on"] if {call!r} == "hand_over" else ["went on", "interrupt"]), log
assert own.call(int, 5) == 5
""")

    def test_a_handler_runs_at_once_and_ends_nothing(self) -> None:
        run("""
own = OwnThread()
gate = Gate()
seen = []
signal.signal(signal.SIGUSR1, lambda *args: (seen.append(threading.current_thread()), gate.open()))
def other():
    until(lambda: gate.begun)
    os.kill(os.getpid(), signal.SIGUSR1)
start(other)
assert own.call(gate.wait, 3) == 3
assert seen == [threading.main_thread()]
""")

    def test_an_error_leaves_no_cycle(self) -> None:
        run("""
class Big: pass
def fail(big):
    raise KeyError
own = OwnThread()
gc.disable()
for call in (hand_over, own.call):
    big = Big()
    reference = weakref.ref(big)
    try:
        call(fail, big)
    except KeyError:
        pass
    del big
    until(lambda: reference() is None)
""")


class TestCallbacks:
    def test_it_runs_in_the_callers_thread_and_may_wait(self) -> None:
        run("""
for over in (hand_over, OwnThread().call):
    log = []
    local = threading.local()
    def callback(value):
        log.append(threading.current_thread())
        assert local.name == threading.current_thread().name
        time.sleep(0.001)
        return value + 1, native.get_ident()
    back = run_back(callback)
    assert back.__name__ == "callback"
    def in_c():
        return native.get_ident(), back(1), back(2)
    def work():
        local.name = threading.current_thread().name
        elsewhere, one, two = over(in_c)
        assert one == (2, native.get_ident()) and two == (3, native.get_ident())
        assert elsewhere != native.get_ident()
        assert log.count(threading.current_thread()) == 2
    threads = [start(work) for _ in range(5)]
    for thread in threads:
        thread.join(LONG)
    assert len(log) == 10
    local.name = "MainThread"
    assert back(1)[0] == 2  # a plain call
""")

    def test_errors_go_to_the_code_that_calls_back(self) -> None:
        run("""
own = OwnThread()
error = ValueError("from the callback")
def fail():
    raise error
def in_c():
    try:
        back()
    except ValueError as exc:
        return exc
back = run_back(fail)
assert own.call(in_c) is error
try:
    own.call(back)
except ValueError as exc:
    assert exc is error
else:
    raise AssertionError
""")

    def test_it_may_use_the_same_object(self) -> None:
        run("""
own = OwnThread()
def depth(n):
    if n == 0:
        return [native.get_ident()]
    return [native.get_ident(), *run_back(lambda: own.call(depth, n - 1))()]
idents = own.call(depth, 5)
assert len(idents) == 6 and set(idents) == {idents[0]} != {native.get_ident()}
""")

    def test_a_call_may_make_another_one_of_the_same_object(self) -> None:
        run("""
own, other = OwnThread(), OwnThread()
def depth(n):
    return [native.get_ident(), *(own.call(depth, n - 1) if n else [])]
idents = own.call(depth, 5)
assert len(idents) == 6 and set(idents) == {idents[0]} != {native.get_ident()}
assert own.call(other.call, native.get_ident) not in (idents[0], native.get_ident())
def fail():
    own.call(int, "x")
try:
    own.call(fail)
except ValueError:
    pass
else:
    raise AssertionError("no error")
""")

    def test_a_kill_inside_of_one_goes_through_the_call(self) -> None:
        run("""
own = OwnThread()
waiting = []
log = []
def callback():
    waiting.append(1)
    time.sleep(LONG)
def in_c():
    try:
        run_back(callback)()
    except greenify.TaskExit:
        log.append("the library cleans up")
        raise
task = greenify.spawn(own.call, in_c)
until(lambda: waiting)
task.kill()
assert task.join(LONG) and log == ["the library cleans up"]
""")

    def test_when_the_caller_has_left_it_is_a_plain_call(self) -> None:
        run("""
gate = Gate()
found = []
def in_c():
    gate.wait()
    found.append(run_back(native.get_ident)())
task = greenify.spawn(hand_over, in_c)
until(lambda: gate.begun)
task.kill()
gate.open()
until(lambda: found)
assert found[0] != native.get_ident()
""")

    def test_a_caller_that_leaves_sends_back_what_it_has_not_served(self) -> None:
        run("""
gate, found = Gate(), []
def in_c():
    gate.wait()
    found.append(run_back(native.get_ident)())
task = greenify.spawn(hand_over, in_c)
until(lambda: gate.begun)
# The kill is on its way before the request.
task.kill()
gate.open()
native_sleep(0.05)
assert task.join(LONG)
until(lambda: found)
assert found[0] != native.get_ident()
""")


class TestOwnThread:
    def test_one_thread_for_each_object_and_always_the_same(self) -> None:
        run("""
class Connection: pass
one, two = Connection(), Connection()
assert own_thread(one) is own_thread(one) is not own_thread(two)
idents = [{own_thread(c).call(native.get_ident) for _ in range(20)} for c in (one, two)]
assert all(len(found) == 1 for found in idents) and idents[0] != idents[1]
""")

    def test_made_when_needed_ended_with_the_object(self) -> None:
        run("""
class Connection: pass
before = own_threads()
connections = [Connection() for _ in range(20)]
for connection in connections:
    own_thread(connection)
assert own_threads() == before
for connection in connections:
    own_thread(connection).call(int)
assert own_threads() == before + 20
del connection
connections.clear()
until(lambda: own_threads() == before)
until(lambda: len(os.listdir("/proc/self/task")) <= 2)
from greenify.green._foreign import own_thread as function
import sys
assert sys.modules[function.__module__]._threads == {}
""")

    def test_callers_take_turns(self) -> None:
        run("""
own = OwnThread()
inside, order = [], []
def call(number):
    assert not inside
    inside.append(number)
    native_sleep(0.001)
    inside.pop()
    order.append(number)
threads = [start(own.call, call, number) for number in range(20)]
for thread in threads:
    thread.join(LONG)
assert order == list(range(20))
""")

    def test_twenty_wait_and_the_holder_goes_on(self) -> None:
        # The first trap: with one pool for all connections, `release` would find no free thread.
        run("""
row = native.allocate_lock()
class Connection:
    def lock(self):
        return own_thread(self).call(row.acquire, True, LONG)
    def commit(self):
        return own_thread(self).call(row.release)
holder = Connection()
holder.lock()
done = []
waiting = []
def work():
    connection = Connection()
    waiting.append(1)
    assert connection.lock()
    connection.commit()
    done.append(1)
threads = [start(work) for _ in range(40)]
until(lambda: len(waiting) == 40)
holder.commit()
for thread in threads:
    thread.join(LONG)
assert len(done) == 40
""")

    def test_no_weak_references(self) -> None:
        run("""
class Bare:
    __slots__ = ()
try:
    own_thread(Bare())
except TypeError as exc:
    assert "keep an OwnThread in an attribute" in str(exc), exc
else:
    raise AssertionError
""")

    def test_a_forked_child_has_none(self) -> None:
        run("""
class Connection: pass
connection = Connection()
own = own_thread(connection)
gate = Gate()
waiting = start(own.call, gate.wait)
until(lambda: gate.begun)
pid = os.fork()
if pid == 0:
    assert not own.running and own_threads() == 0
    assert own_thread(connection) is own
    assert own.call(int, 7) == 7 and own_threads() == 1
    os._exit(7)
assert os.waitpid(pid, 0)[1] == 7 << 8
gate.open()
waiting.join(LONG)
assert not waiting.is_alive() and own.call(int, 5) == 5
""")

    def test_a_fork_inside_of_a_callback(self) -> None:
        run("""
own = OwnThread()
def callback():
    return os.fork()
def in_c():
    return run_back(callback)()
try:
    pid = own.call(in_c)
except greenify.HubError as exc:
    assert "forked inside a callback" in str(exc)
    os._exit(5)
assert os.waitpid(pid, 0)[1] == 5 << 8
""")

    def test_a_fork_inside_of_a_call(self) -> None:
        # With threads a thread that forks is the child's only one, and its end that of the child.
        run("""
own = OwnThread()
pid = own.call(os.fork)
assert os.waitpid(pid, 0)[1] == 0
assert own.call(int, 5) == 5
""")

    def test_no_thread_to_be_had(self) -> None:
        run("""
from greenify.core import native as started
def refuse(*args):
    raise RuntimeError("can't start new thread")
started._start_native = refuse
own = OwnThread()
for call in (hand_over, compute, own.call):
    assert call(native.get_ident) == native.get_ident()
""")


class TestEnd:
    @pytest.mark.parametrize("where", ["atexit", "__del__", "module globals"])
    def test_calls_at_the_interpreters_end(self, where: str) -> None:
        result = run(f"""
import atexit
own = OwnThread()
own.call(int)
class Connection:
    def close(self, say=print, call=own.call):
        say("closed", call(int, 5))
    def __del__(self):
        if {where!r} != "atexit":
            self.close()
connection = Connection()
if {where!r} == "atexit":
    atexit.register(connection.close)
elif {where!r} == "__del__":
    del connection
""")
        assert result.stdout == "closed 5\n"

    def test_a_call_that_never_ends_does_not_hold_up_the_end(self) -> None:
        run("""
lock = native.allocate_lock()
lock.acquire()
begun = []
def wait():
    begun.append(1)
    lock.acquire()
for call in (hand_over, OwnThread().call):
    threading.Thread(target=call, args=(wait,), daemon=True).start()
until(lambda: len(begun) == 2)
""")
