"""How waits for other threads are told: locks, conditions, queues, ends of threads and tasks, sleeps."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from greenify.core.clock import monotonic as _monotonic
from greenify.inspect.names import function_name, name_by_ident, name_of
from greenify.inspect.record import LATER, Context, Wait, completed, completes, describes
from greenify.locks import RLock
from greenify.semaphores import Semaphore

__all__ = ["LOCKS"]

_Locals = Mapping[str, Any]

#: The kinds of waits whose object somebody holds.
LOCKS = frozenset({"Lock", "RLock"})


def _until(inner: Wait | None) -> float | None:
    return None if inner is None else inner.until


@describes("greenify.core.waiters", "wait")
def _waiter(names: _Locals, inner: Wait | None, context: Context) -> Wait | None:
    return Wait("wake-up", LATER, names["deadline"])


@completes("wake-up")
def _wake_up(wait: Wait, context: Context) -> str:
    return f"a wake-up{context.where}"


@describes("greenify.green.time", "_sleep", blind=True)
@describes("greenify.core.registry", "sleep", blind=True)
def _sleep(names: _Locals, inner: Wait | None, context: Context) -> Wait | None:
    until = _until(inner)
    if until is None:
        return Wait("sleep", "sleep 0")
    left = max(0.0, until - _monotonic())
    text = f"sleep {left:.1f} s more" if left >= 0.1 else f"sleep {left * 1000:.0f} ms more"
    return Wait("sleep", text, until)


# Locks.


def _lock(lock: Any, until: float | None, context: Context) -> Wait:
    if isinstance(lock, Semaphore):
        return Wait("Semaphore", f"Semaphore of{context.where}", until, on=lock)
    kind = "RLock" if isinstance(lock, RLock) else "Lock"
    text = f"{kind} of{context.where or ' nowhere'}"
    owner = lock._owner if kind == "RLock" else None
    if owner is None:
        return Wait(kind, text, until, on=lock)
    facts = {"owner": name_of(owner), "owner_greenlet": owner}
    return Wait(kind, f"{text}, held by {facts['owner']}", until, facts=facts, on=lock)


@describes("greenify.tokens", "_wait_for_token", alone=True)
def _token(names: _Locals, inner: Wait | None, context: Context) -> Wait | None:
    return _lock(names["self"], names.get("deadline"), context)


@describes("greenify.green._processes.semlock", "_take")
def _semlock(names: _Locals, inner: Wait | None, context: Context) -> Wait | None:
    text = f"multiprocessing lock or semaphore of{context.where}"
    return Wait("SemLock", text, names.get("deadline"), on=names["self"])


def _covers(inner: Wait | None) -> bool:
    # Not a wait that has ended and takes its lock again: then it waits for the lock.
    return inner is None or inner.kind not in LOCKS


def _covering(kind: str, verb: str) -> Any:
    """A describer for a method that waits inside: ``Queue.get jobs.py:12``."""

    def describe(names: _Locals, inner: Wait | None, context: Context) -> Wait | None:
        if not _covers(inner):
            return None
        on = names.get("self")
        return Wait(kind, f"{kind}.{verb}{context.where}", _until(inner), on=on)

    return describe


for _name in ("_condition_wait",):
    describes("greenify.green._threads.conditions", _name)(_covering("Condition", "wait"))
for _name in ("_event_wait", "_event_wait_until"):
    describes("greenify.green._threads.conditions", _name)(_covering("Event", "wait"))
describes("greenify.condition", "_wait_until")(_covering("Condition", "wait"))
describes("greenify.event", "wait")(_covering("Event", "wait"))


@describes("threading", "wait", "wait_for", "acquire", "_wait")
def _threading(names: _Locals, inner: Wait | None, context: Context) -> Wait | None:
    # By name, for a copy of the module has classes of its own.
    kinds = {base.__name__ for base in type.mro(type(names["self"]))}
    for kind in ("Barrier", "Semaphore", "Event", "Condition"):
        if kind in kinds:
            verb = "acquire" if kind == "Semaphore" else "wait"
            wait: Wait | None = _covering(kind, verb)(names, inner, context)
            return wait
    return None


# Queues.


def _queue(names: _Locals, inner: Wait | None, context: Context, verb: str) -> Wait | None:
    if inner is None or not _covers(inner):
        return None
    queue = names["self"]
    size = _length(queue)
    text = f"{type(queue).__name__}.{verb}{context.where}"
    return Wait("Queue", text, inner.until, facts={"items": size, "call": verb}, on=queue)


def _length(queue: Any) -> int | None:
    for name in ("queue", "_items"):
        items = getattr(queue, name, None)
        if isinstance(items, (deque, list)):
            return len(items)
    return None


@describes("greenify.green._threads.queue_methods", "get", "_wait")
@describes("greenify.queue", "get")
@describes("greenify.simple_queue", "get", "_wait")
@describes("queue", "get")
def _get(names: _Locals, inner: Wait | None, context: Context) -> Wait | None:
    # `SimpleQueue` and `queue_methods` wait without any frame below.
    return _queue(names, inner or Wait("wake-up", ""), context, "get")


@describes("greenify.green._threads.queue_methods", "put")
@describes("greenify.queue", "put")
@describes("queue", "put")
def _put(names: _Locals, inner: Wait | None, context: Context) -> Wait | None:
    return _queue(names, inner, context, "put")


@describes("greenify.queue", "join")
@describes("queue", "join")
def _queue_join(names: _Locals, inner: Wait | None, context: Context) -> Wait | None:
    return _queue(names, inner, context, "join")


@describes("multiprocessing.queues", "get", "put")
def _process_queue(names: _Locals, inner: Wait | None, context: Context) -> Wait | None:
    if inner is None:
        return None
    text = f"multiprocessing queue{context.where} ({completed(inner, context).text})"
    return Wait("Queue", text, inner.until, facts=inner.facts, on=names["self"])


# The end of others.


@describes("greenify.green._threads.handles", "acquire")
def _sentinel(names: _Locals, inner: Wait | None, context: Context) -> Wait | None:
    facts = {"thread_greenlet": names["self"]._owner}
    return Wait("join", LATER, _until(inner), facts=facts, on=names["self"])


@completes("join")
def _by_owner(wait: Wait, context: Context) -> str:
    name = name_of(wait.facts["thread_greenlet"])
    wait.facts = {"thread": name, **wait.facts}
    return f"join {name}"


@describes("greenify.green._threads.handles", "join")
def _handle(names: _Locals, inner: Wait | None, context: Context) -> Wait | None:
    handle = names["self"]
    name = name_by_ident(handle._ident) or f"thread {handle._ident:#x}"
    facts = {"thread": name, "ident": handle._ident}
    return Wait("join", f"join {name}", _until(inner), facts=facts, on=handle)


@describes("threading", "join")
def _join(names: _Locals, inner: Wait | None, context: Context) -> Wait | None:
    thread = names["self"]
    name = vars(thread).get("_name", type(thread).__name__)
    facts = {**(inner.facts if inner is not None else {}), "thread": name}
    return Wait("join", f"join {name}", _until(inner), facts=facts, on=thread)


@describes("threading", "start")
def _start(names: _Locals, inner: Wait | None, context: Context) -> Wait | None:
    name = vars(names["self"]).get("_name", "a thread")
    return Wait("start", f"the start of {name}", facts={"thread": name})


@describes("greenify.task", "join")
def _task_join(names: _Locals, inner: Wait | None, context: Context) -> Wait | None:
    task = names["self"]
    facts = {"thread": task.name, "thread_greenlet": task._greenlet}
    return Wait("join", f"join {task.name}", _until(inner), facts=facts, on=task)


@describes("greenify.task_group", "_join")
def _group(names: _Locals, inner: Wait | None, context: Context) -> Wait | None:
    group = names["self"]
    children = [child.name for child in tuple(group._children)]
    text = f"TaskGroup{context.where} ({len(children)} tasks)"
    return Wait("TaskGroup", text, facts={"tasks": children}, on=group)


@describes("greenify.core.fork", "_await_end")
def _last(names: _Locals, inner: Wait | None, context: Context) -> Wait | None:
    return Wait("join", "the end of all threads")


@describes("greenify.channel", "_select")
def _channel(names: _Locals, inner: Wait | None, context: Context) -> Wait | None:
    cases = names["cases"]
    verbs = ["send" if sends else "receive" for _, sends, _ in cases]
    what = f"Channel.{verbs[0]}" if len(verbs) == 1 else f"select_channels of {len(verbs)}"
    on = cases[0][0] if len(cases) == 1 else None
    return Wait("Channel", f"{what}{context.where}", names["deadline"], on=on)


# Futures, pools, asyncio.


@describes("concurrent.futures._base", "result", "exception")
def _future(names: _Locals, inner: Wait | None, context: Context) -> Wait | None:
    if not _covers(inner):
        return None
    return Wait("Future", f"Future.result{context.where}", _until(inner), on=names["self"])


@describes("concurrent.futures._base", "wait", "as_completed", "result_iterator")
@describes("greenify.results", "wait", "_as_completed")
def _futures(names: _Locals, inner: Wait | None, context: Context) -> Wait | None:
    if not _covers(inner):
        return None
    futures = names.get("futures") or names.get("fs")
    several = f"{len(futures)} futures" if isinstance(futures, (set, list, tuple)) else "futures"
    return Wait("Future", f"{several}{context.where}", _until(inner))


@describes("concurrent.futures.thread", "_worker")
def _idle(names: _Locals, inner: Wait | None, context: Context) -> Wait | None:
    if inner is None or inner.kind != "Queue":
        return None
    return Wait("Queue", "work for its ThreadPoolExecutor", inner.until, on=inner.on)


@describes("asyncio.base_events", "run_forever")
def _loop(names: _Locals, inner: Wait | None, context: Context) -> Wait | None:
    if inner is None:
        return None
    text = f"asyncio loop: {completed(inner, context).text}"
    return Wait("asyncio loop", text, inner.until, on=names["self"])


@describes("greenify.aio", "select")
def _aio_select(names: _Locals, inner: Wait | None, context: Context) -> Wait | None:
    fds = tuple(getattr(names["self"], "_fd_to_key", ()))
    text = f"select of {len(fds)} descriptors"
    return Wait("select", text, names.get("deadline"), facts={"fds": list(fds)})


@describes("greenify.aio", "_join")
def _coroutine(names: _Locals, inner: Wait | None, context: Context) -> Wait | None:
    future = names["future"]
    get_coro = getattr(future, "get_coro", None)
    name = function_name(get_coro()) if get_coro is not None else type(future).__name__
    return Wait("coroutine", f"coroutine {name}", facts={"function": name}, on=future)


@describes("greenify.loop_access", "run")
def _run(names: _Locals, inner: Wait | None, context: Context) -> Wait | None:
    return Wait("run", f"greenify.run(){context.where}")
