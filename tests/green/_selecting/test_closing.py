"""What is closed while another thread polls it: the kernel lets the wait go on, and so do we."""

from __future__ import annotations

import pytest

from tests.green.programs import both_modes, run, same_output
from tests.support import Mode

WAITS = """
    import selectors
    selectors_of = {name: getattr(selectors, name) for name in (
        "DefaultSelector", "SelectSelector", "PollSelector", "EpollSelector")}

    def names(found, by):
        return sorted(by.get(each, "?") for each in found)

    def waiting(how, watched, by, timeout):
        '''A function that waits for any of the sockets, and what it waits with.'''
        if how == "select":
            return lambda: names(select.select(watched, [], [], timeout)[0], by), None
        if how == "select numbers":
            numbers = [each.fileno() for each in watched]
            known = {each.fileno(): name for each, name in by.items()}
            return lambda: names(select.select(numbers, [], [], timeout)[0], known), None
        if how == "select writing and reading":
            return lambda: names(select.select(watched, [], watched, timeout)[0], by), None
        known = {each.fileno(): name for each, name in by.items()}
        if how in ("poll", "epoll"):
            queue = getattr(select, how)()
            for each in watched:
                queue.register(each, select.POLLIN)
            wait = timeout if how == "epoll" else timeout * 1000
            return lambda: sorted((known[fd], mask) for fd, mask in queue.poll(wait)), queue
        queue = selectors_of[how]()
        for each in watched:
            queue.register(each, selectors.EVENT_READ, by[each])
        return lambda: sorted(key.data for key, _ in queue.select(timeout)), queue

    def closing(how, fd, close):
        if how == "close":
            close()
        elif how == "os.close":
            os.close(fd)
        elif how == "closerange":
            os.closerange(fd, fd + 1)
        else:
            null = os.open(os.devnull, os.O_RDONLY)
            os.dup2(null, fd)
            os.close(null)

    def settle_well():
        settle()
        if not PATCHED:
            time.sleep(0.03)

    def tidy(*things):
        for each in things:
            try:
                each.close()
            except (OSError, AttributeError):
                pass  # closed by number

    warnings.simplefilter("ignore")
"""

HOW = [
    "select",
    "select numbers",
    "select writing and reading",
    "poll",
    "epoll",
    "DefaultSelector",
    "SelectSelector",
    "PollSelector",
    "EpollSelector",
]
CLOSE = ["close", "os.close", "closerange", "dup2"]


@pytest.mark.parametrize("how", HOW)
class TestSocket:
    def test_then_news(self, how: str) -> None:
        """`select` and `poll` still see what comes for the closed file; `epoll` has dropped it."""
        output = same_output(
            WAITS
            + f"""
    how, ways = {how!r}, {CLOSE!r}
    forgets = how in ("epoll", "EpollSelector", "DefaultSelector")
    for count in (1, 2, 3):
        for way in ways:
            pairs = [socket.socketpair() for _ in range(count)]
            watched = [left for left, _ in pairs]
            by = dict(zip(watched, "abc"))
            wait, queue = waiting(how, watched, by, LONG if not forgets or count > 1 else 0.05)
            thread = Thread(wait)
            settle_well()
            closing(way, watched[0].fileno(), watched[0].close)
            settle_well()
            print(count, way)
            if not forgets or count > 1:
                pairs[-1 if forgets else 0][1].send(b"x")
            print(outcome(thread.end))
            tidy(queue, *sum(pairs, ()))
    """
        )
        assert "Error" not in output

    def test_then_the_time_out(self, how: str) -> None:
        output = same_output(
            WAITS
            + f"""
    how, ways = {how!r}, {CLOSE!r}
    started = []
    for count in (1, 2):
        for way in ways:
            pairs = [socket.socketpair() for _ in range(count)]
            watched = [left for left, _ in pairs]
            by = dict(zip(watched, "abc"))
            wait, queue = waiting(how, watched, by, 1.5)
            started.append((count, way, pairs, queue, Thread(wait)))
    settle_well()
    for _, way, pairs, _, _ in started:
        left = pairs[0][0]
        closing(way, left.fileno(), left.close)
    for count, way, _, _, thread in started:
        print(count, way, outcome(thread.end))
    for _, _, pairs, queue, _ in started:
        tidy(queue, *sum(pairs, ()))
    """
        )
        assert "Error" not in output

    def test_number_is_another_files_meanwhile(self, how: str) -> None:
        same_output(
            WAITS
            + f"""
    how = {how!r}
    for count in (1, 2):
        pairs = [socket.socketpair() for _ in range(count)]
        watched = [left for left, _ in pairs]
        by = dict(zip(watched, "abc"))
        wait, queue = waiting(how, watched, by, 1.0)
        thread = Thread(wait)
        settle_well()
        number = watched[0].fileno()
        watched[0].close()
        other = socket.socketpair()
        assert number in (other[0].fileno(), other[1].fileno())
        for each in other:
            each.send(b"x")
        # Of the new file the wait knows nothing; a wait that begins now does.
        print(select.select(other, [], [], LONG)[0] == list(other))
        print(outcome(thread.end))
        tidy(queue, *other, *sum(pairs, ()))
    """
        )


@pytest.mark.parametrize("how", ["epoll", "EpollSelector", "DefaultSelector"])
def test_queue_itself(how: str) -> None:
    """A wait on a closed epoll goes on, too."""
    output = same_output(
        WAITS
        + f"""
    how, ways = {how!r}, {CLOSE!r}
    for news in (True, False):
        for way in ways:
            left, right = socket.socketpair()
            wait, queue = waiting(how, [left], {{left: "a"}}, LONG if news else 0.1)
            threads = [Thread(wait) for _ in range(2)]
            settle_well()
            closing(way, queue.fileno(), queue.close)
            settle_well()
            if news:
                right.send(b"x")
            print(news, way, [outcome(thread.end) for thread in threads])
            print(outcome(wait).partition(":")[0] if way != "dup2" else "")
            tidy(queue, left, right)
    """
    )
    assert "'a'" in output or "('a'" in output or "[]" in output


def test_nothing_is_left_of_it() -> None:
    same_output(
        WAITS
        + """
    def open_files():
        found = set()
        for fd in range(2000):
            try:
                os.fstat(fd)
            except OSError:
                continue
            found.add(fd)
        return found

    for turn in range(2):
        for how in ("select", "poll", "epoll", "EpollSelector"):
            for count in (1, 2):
                pairs = [socket.socketpair() for _ in range(count)]
                watched = [left for left, _ in pairs]
                wait, queue = waiting(how, watched, dict(zip(watched, "ab")), 0.05)
                threads = [Thread(wait) for _ in range(1 if how == "poll" else 3)]
                settle_well()
                watched[0].close()
                if queue is not None and hasattr(queue, "close"):
                    queue.close()
                for thread in threads:
                    thread.end()
                tidy(*sum(pairs, ()))
        if not turn:
            before = open_files()
    print(open_files() == before)
    """
    )


def test_waits_that_are_killed_leave_nothing() -> None:
    run(
        WAITS
        + """
    import greenify
    from greenify import core

    time.sleep(0.001)
    select.select([0], [], [], 0)
    for count in (1, 2):
        for how in ("select", "poll", "epoll"):
            pairs = [socket.socketpair() for _ in range(count)]
            watched = [left for left, _ in pairs]
            wait, queue = waiting(how, watched, dict(zip(watched, "ab")), LONG)
            task = greenify.spawn(wait)
            greenify.sleep(0.001)
            before = set(core.get_hub().private_fds)
            watched[0].close()
            if how == "epoll":
                queue.close()
            assert len(core.get_hub().private_fds) == len(before) + 1
            task.kill()
            task.join()
            assert core.get_hub().private_fds == before
            tidy(*sum(pairs, ()))
    """,
        "patch_all",
    )


@both_modes
def test_a_reader_beside_those_who_poll(mode: Mode) -> None:
    # The end of a wait in `read` is no close: nobody's poll goes on with a copy, no number is used up.
    run(
        """
    r, w = os.pipe()
    other, keeps_open = os.pipe()
    numbers = []
    got = []
    def read():
        for _ in range(20):
            got.append(os.read(r, 1))
    def watch():
        while len(got) < 20:
            poll = select.poll()
            poll.register(r, select.POLLIN)
            poll.register(other, select.POLLIN)
            poll.poll(1000)
            numbers.append(len(os.listdir("/proc/self/fd")))
    threads = [Thread(read), Thread(watch)]
    # As multiprocessing's pool does, whose watcher looks again while there is something to read.
    for _ in range(20):
        time.sleep(0.005)
        os.write(w, b"x")
    threads[0].end()
    os.write(w, b"x")
    threads[1].end()
    assert got == [b"x"] * 20
    assert max(numbers) <= numbers[0] + 2, numbers
    """,
        mode,
    )


class TestCollected:
    """What nobody has closed: C code closes its number; the kernel keeps the file open for who polls it."""

    PROGRAM = (
        WAITS
        + """
    kept_open = []

    class Number(int):
        fileno = int.__int__

    def a_socket():
        left, right = socket.socketpair()
        return [left], right

    def a_subclass():
        class Mine(socket.socket):
            pass
        left, right = socket.socketpair()
        return [Mine(fileno=left.detach())], right

    def an_adopted_one():
        left, right = socket.socketpair()
        return [socket.socket(fileno=left.detach())], right

    def a_file():
        left, right = socket.socketpair()
        return [left.makefile("rb")], right

    def a_pipe():
        reader, writer = os.pipe()
        return [open(reader, "rb", 0)], open(writer, "wb", 0)

    def a_queue(kind=select.epoll):
        left, right = socket.socketpair()
        queue = kind()
        queue.register(left, select.EPOLLIN)
        kept_open.append(left)
        return [queue], right

    def a_selector():
        return a_queue(selectors.DefaultSelector)

    def news(end):
        return end.send(b"x") if isinstance(end, socket.socket) else end.write(b"x")

    def collected(make, how, count, timeout):
        pairs = [make() for _ in range(count)]
        number = pairs[0][0][0].fileno()
        watched = [Number(held[0].fileno()) for held, _ in pairs]
        wait, queue = waiting(how, watched, dict(zip(watched, "abc")), timeout)
        thread = Thread(wait)
        settle_well()
        pairs[0][0].clear()
        gc.collect()
        settle_well()
        print(make.__name__, how, count, outcome(os.fstat, number))
        kept_open.extend(pairs)
        return [end for _, end in pairs], queue, thread
    """
    )

    @pytest.mark.parametrize(
        "make",
        [
            "a_socket",
            "a_subclass",
            "an_adopted_one",
            "a_file",
            "a_pipe",
            "a_queue",
            "a_selector",
        ],
    )
    def test_select_and_poll_go_on(self, make: str) -> None:
        output = same_output(
            self.PROGRAM
            + f"""
    for how in ("select numbers", "poll", "PollSelector"):
        for count in (1, 2, 3):
            # Something comes for what was collected.
            ends, queue, thread = collected({make}, how, count, LONG)
            print(outcome(news, ends[0]), outcome(thread.end))
            tidy(queue, *ends)
            # Something comes for another one.
            if count > 1:
                ends, queue, thread = collected({make}, how, count, LONG)
                print(outcome(news, ends[1]), outcome(thread.end))
                tidy(queue, *ends)
            # Nothing comes.
            ends, queue, thread = collected({make}, how, count, 0.1)
            print(outcome(thread.end))
            tidy(queue, *ends)
    """
        )
        assert output.count("OSError: [Errno 9]") == 24, output
        assert "Broken" not in output

    def test_epoll_forgets_it(self) -> None:
        output = same_output(
            self.PROGRAM
            + """
    for how in ("epoll", "EpollSelector", "DefaultSelector"):
        for count in (1, 2, 3):
            ends, queue, thread = collected(a_socket, how, count, LONG if count > 1 else 0.05)
            if count > 1:
                ends[-1].send(b"x")
            print(outcome(thread.end))
            tidy(queue, *ends)
    """
        )
        assert output.count("OSError: [Errno 9]") == 9, output

    @both_modes
    def test_not_of_a_socket_of_c(self, mode: Mode) -> None:
        # A limit (docs/limits.md): nobody hears of the end of those that the class in C itself has made.
        run(
            self.PROGRAM
            + """
    def of_c():
        left, right = socket.socketpair()
        return [socket._socket.socket(fileno=left.detach())], right
    for how in ("select numbers", "poll", "PollSelector"):
        ends, queue, thread = collected(of_c, how, 2, 0.5)
        sent = outcome(ends[0].send, b"x")
        assert sent == ("BrokenPipeError: [Errno 32] Broken pipe" if PATCHED else 1), sent
        found = outcome(thread.end)
        assert PATCHED or found, found
        # The others are polled on.
        ends, queue, thread = collected(of_c, how, 2, LONG)
        ends[1].send(b"x")
        print(how, outcome(thread.end))
        tidy(queue, *ends)
    """,
            mode,
        )

    def test_who_only_looks_at_the_finaliser_disturbs_nobody(self) -> None:
        same_output(
            WAITS
            + """
    left, right = socket.socketpair()
    threads = [Thread(right.recv, 1)]
    for how in ("select", "poll", "epoll"):
        threads.append(Thread(waiting(how, [right], {right: "a"}, LONG)[0]))
    settle_well()
    print(hasattr(right, "__del__"), type(right.__del__), type(socket.socket.__del__))
    settle_well()
    print([thread.is_alive() for thread in threads])
    left.send(b"xyz")
    print(threads[0].end(), [bool(thread.end()) for thread in threads[1:]])
    print(right.recv(2))
    tidy(left, right)
    """
        )

    def test_the_warning_names_the_programs_line(self) -> None:
        output = same_output(
            """
    def drop():
        left, right = socket.socketpair()
        left.close()
        del right
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        drop()
    for each in caught:
        print(each.category.__name__, each.lineno, str(each.message).partition(" fd=")[0])
    hooked = []
    sys.unraisablehook = hooked.append
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drop()
    for each in hooked:
        print(each.exc_type.__name__, type(each.object).__name__, str(each.err_msg).partition(" fd=")[0])
    hooked.clear()
    """
        )
        assert output.count("ResourceWarning") == 2, output

    def test_subclass_with_a_finaliser_of_its_own(self) -> None:
        same_output(
            WAITS
            + """
    class Mine(socket.socket):
        def __del__(self):
            print("collected", self.fileno() >= 0)
            super().__del__()
    left, right = socket.socketpair()
    mine = [Mine(fileno=left.detach())]
    number = mine[0].fileno()
    thread = Thread(lambda: len(select.select([number], [], [], LONG)[0]))
    settle_well()
    mine.clear()
    settle_well()
    print(outcome(os.fstat, number), right.send(b"x"), thread.end())
    right.close()
    """
        )
