"""Find every reference to some objects, through the garbage collector, and tell how to rewrite each.

`gc.get_referrers` sees all containers of the process at once: module globals, class and instance
attributes, function defaults, closures, dicts, lists.  What it cannot see (the C stack, structures of C
extensions) shows as a difference to the object's reference count.  An object that is immutable but holds
the one we look for (a tuple, a bound method of a lock, a staticmethod) is *derived*: it is rebuilt, and
the references to it are rewritten in turn.
"""

from __future__ import annotations

import gc
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from inspect import CO_OPTIMIZED
from itertools import chain, compress
from types import FrameType, FunctionType, ModuleType
from typing import Any

from greenify.core.collector import thawed
from greenify.patches.holders import CONTAINERS, frame_name, is_derivable, rebuilt, scan
from greenify.patches.places import Element, Place

__all__ = ["EXEMPT", "Node", "Search", "is_exempt"]

_current_frames = sys._current_frames

EXEMPT: dict[str, str] = {
    "greenify": "calls the native functions on purpose",
    "gevent": "keeps the originals for a patch of its own",
    "eventlet": "keeps the originals for a patch of its own",
    "debugpy": "a debugger's own threads have to run while the program stands still",
    "pydevd": "see debugpy",
    "_pydevd_bundle": "see debugpy",
    "_pydev_bundle": "see debugpy",
}
"""Packages whose references stay as they are, and why."""


def is_exempt(module: object) -> bool:
    """Whether what belongs to the module of this name is left alone (see `EXEMPT`)."""
    return isinstance(module, str) and module.partition(".")[0] in EXEMPT


# Py_TPFLAGS_HAVE_GC
_HAVE_GC = 1 << 14

# How many objects are asked for their references at once.
# From this many objects on, asking every object what it refers to is quicker than `gc.get_referrers`.
_MANY = 200

_CHUNK = 1000

# How far up the owners of a container are looked for: a closure's cell, its tuple, the function.
_DEPTH = 3


def _is_left_alone(contents: dict[str, Any]) -> bool:
    """Whether these are the globals of a module in `EXEMPT`, or of a C module of the standard library.

    The latter are where the originals live.
    """
    name = dict.get(contents, "__name__")
    if not isinstance(name, str) or "__spec__" not in contents:
        return False
    if is_exempt(name):
        return True
    if name.partition(".")[0] not in sys.stdlib_module_names:
        return False
    file = dict.get(contents, "__file__")
    origin = getattr(contents["__spec__"], "origin", None)
    return origin == "built-in" or (isinstance(file, str) and file.endswith(".so"))


class Node:
    """An object that is to be replaced, and the references to it.

    Attributes:
        target: the object.
        places: where references to it can be rewritten.
        stuck: where there are references that cannot be, in words.
        exempt: whether a package that is left alone has a reference to it.
        hidden: how many references to it were not found anywhere.
        derived: the objects that have to be rebuilt with it.
        parts: if it is derived itself: the nodes of which it is built.
    """

    __slots__ = ("derived", "exempt", "found", "hidden", "parts", "places", "stuck", "target")

    def __init__(self, target: Any) -> None:
        self.target = target
        self.places: list[Place] = []
        self.stuck: list[str] = []
        self.exempt = False
        self.found = 0
        self.hidden = 0
        self.derived: list[Node] = []
        self.parts: list[Node] = []

    def reset(self) -> None:
        """Forget what was found."""
        self.__init__(self.target)  # type: ignore[misc]

    def tree(self) -> Iterator[Node]:
        """This node and everything that is derived from it."""
        yield self
        for node in self.derived:
            yield from node.tree()

    def renewed(self, new: dict[int, Any]) -> Any:
        """What replaces the target; `new` maps ids of targets to that, and learns of this one."""
        if id(self.target) not in new:
            new[id(self.target)] = rebuilt(self.target, lambda part: new.get(id(part), part))
        return new[id(self.target)]


class Search:
    """One look at the whole process.  No other code may run between it and the use of its results.

    Args:
        targets: functions and classes to look for.
        known: how many references to each of them (by its id) the caller knows of, and does not want to see.
        kinds: types, all instances of which (not of subclasses) are to be looked for as well.

    Attributes:
        nodes: what was found about each of `targets`, by its id.
        counted: the same of the instances, with every single reference accounted for (`Node.hidden`).
    """

    def __init__(
        self, targets: list[Any], known: Mapping[int, int], kinds: frozenset[type]
    ) -> None:
        self.nodes = {id(target): Node(target) for target in targets}
        self.counted: dict[int, Node] = {}
        self._modules: dict[int, ModuleType] = {}
        self._exempt: set[int] = set()  # the dicts of modules that are left alone
        self._owners: dict[int, list[Any]] = {}
        # Our own containers: known to hold the targets, and not to be found.
        self._own: list[list[Any]] = []
        self._ignored = {id(targets), id(kinds), id(self._own)}
        self._index_modules()
        try:
            with thawed():
                if self._search(known, kinds, []):
                    more = _unlisted(kinds)
                    self._forget_own()
                    self._forget_derived()
                    for node in self.nodes.values():
                        node.reset()
                    self._search(known, kinds, more)
        finally:
            self._forget_own()

    def _forget_own(self) -> None:
        # What is left of this search must not be found by the next.
        self._owners.clear()
        for container in self._own:
            container.clear()
        self._own.clear()

    def forget(self) -> None:
        """Drop the results, which refer to each other in cycles."""
        self._forget_derived()
        self.nodes.clear()
        self.counted.clear()

    def _forget_derived(self) -> None:
        for node in (*self.nodes.values(), *self.counted.values()):
            for part in node.tree():
                part.parts.clear()

    def _index_modules(self) -> None:
        for name, module in list(sys.modules.items()):
            if isinstance(module, ModuleType):
                contents = vars(module)
                self._modules[id(contents)] = module
                if is_exempt(name) or _is_left_alone(contents):
                    self._exempt.add(id(contents))

    def _search(self, known: Mapping[int, int], kinds: frozenset[type], more: list[Any]) -> bool:
        """Three looks: who holds the targets; who holds what is derived from them; and whose those are.

        Returns:
            Whether there are instances of `kinds` that the garbage collector does not list.  Those have to
            be given in `more`, which is emptied.
        """
        everything = gc.get_objects()
        found = self._hold(
            list(compress(everything, map(kinds.__contains__, map(type, everything))))
        )
        del everything
        found.extend(more)
        more.clear()
        self.counted = {id(target): Node(target) for target in found}
        wanted: dict[int, Node] = {**self._not_in_modules(known), **self.counted}
        unlisted = [
            wanted.setdefault(id(kind), self.nodes.get(id(kind)) or Node(kind))
            for kind in kinds
            if not kind.__flags__ & _HAVE_GC
        ]
        probe = Node(object())
        wanted[id(probe.target)] = probe
        targets = self._hold([node.target for node in wanted.values()])
        holders = self._referrers(targets)
        unsure = self._hold([holder for holder in holders if self._is_unsure(holder)])
        derived = {id(holder): Node(holder) for holder in unsure if is_derivable(holder)}
        self._find_owners(unsure)
        if derived:
            again = [o for node in derived.values() for o in self._owners_of(node.target)]
            wanted |= derived
            holders = self._hold([*{id(holder): holder for holder in holders + again}.values()])
            self._own.append(again)
        # Each holder once: looking at an instance may give it a dict of its own, which would be another.
        paused = self._hold([holder for holder in holders if isinstance(holder, FrameType)])
        while holders:
            self._enter(holders.pop(), wanted, derived)
        self._enter_frames(wanted, paused)
        # Counted once: to look through all of them for every node would take the square of the time.
        own = Counter(chain.from_iterable(map(id, container) for container in self._own))
        base = _excess(probe, own)
        for node in (*self.counted.values(), *derived.values()):
            node.hidden = _excess(node, own) - base
        # Every instance refers to its type, and of those references the garbage collector does not know.
        # (Two more are known: in `targets` of the caller, and in `kinds`.)
        return any(
            _excess(node, own) - base - (id(node.target) in self.nodes) - 1 for node in unlisted
        )

    def _not_in_modules(self, known: Mapping[int, int]) -> dict[int, Node]:
        """Find what modules hold of the targets, and return the nodes of those that others hold, too.

        Most are in modules only, and the garbage collector needs not be asked for those.
        """
        nodes = self.nodes
        ids = set(nodes)
        for contents in [vars(module) for module in self._modules.values()]:
            if not ids.isdisjoint(map(id, contents.values())):
                self._enter(contents, nodes, {})
        # `targets` of the caller, the node, the argument of getrefcount.
        probe = Node(object())
        base = 1 + sys.getrefcount(probe.target)
        return {
            number: node
            for number, node in nodes.items()
            if sys.getrefcount(node.target) - node.found - known.get(number, 0) != base
        }

    def _hold(self, container: list[Any]) -> list[Any]:
        self._own.append(container)
        return container

    def _referrers(self, things: list[Any]) -> list[Any]:
        if not things:
            return []
        mark = object()
        if len(things) < _MANY:
            found = gc.get_referrers(*things, mark)
        else:
            # get_referrers compares every reference of the process with each of its arguments in turn.
            ids = set(map(id, things))
            found = [
                holder
                for holder in _askable()
                if not ids.isdisjoint(map(id, gc.get_referents(holder)))
            ]
        own = self._ignored.union(map(id, self._own), map(id, _unaskable()))
        return self._hold(
            [
                holder
                for holder in found
                if id(holder) not in own
                and type(holder) is not Node
                # The arguments of that very call.
                and not (type(holder) is tuple and holder and holder[-1] is mark)
            ]
        )

    def _is_unsure(self, holder: Any) -> bool:
        if isinstance(holder, dict):
            return id(holder) not in self._modules
        return isinstance(holder, CONTAINERS) or is_derivable(holder)

    def _find_owners(self, things: list[Any]) -> None:
        """Look up what refers to `things`, and so on for as long as nothing says whose they are."""
        for _ in range(_DEPTH):
            missing = self._hold([thing for thing in things if id(thing) not in self._owners])
            if not missing:
                return
            for thing in missing:
                self._owners[id(thing)] = self._hold([])
            for owner in self._referrers(missing):
                for held in gc.get_referents(owner):
                    owners = self._owners.get(id(held))
                    if owners is not None:
                        owners.append(owner)
            things = self._hold([])
            for thing in missing:
                owners = self._owners_of(thing)
                if all(map(self._is_unsure, owners)):
                    things.extend(owners)

    def _owners_of(self, thing: Any) -> list[Any]:
        return self._owners.get(id(thing), [])

    def _enter(self, holder: Any, wanted: dict[int, Node], derived: dict[int, Node]) -> None:
        """Write down what `holder`, which may be anything but a frame, holds of `wanted`."""
        if isinstance(holder, FrameType):
            return
        exempt = self._is_exempt(holder)
        owners = self._owners_of(holder)
        module = self._modules.get(id(holder))
        if module is not None:
            owners = [module]
        rebuild = derived.get(id(holder))
        if rebuild is not None:
            for held in gc.get_referents(holder):
                node = wanted.get(id(held))
                if node is not None:
                    node.found += 1
                    if node not in rebuild.parts:
                        rebuild.parts.append(node)
                        node.derived.append(rebuild)
            return
        for number, where in scan(holder, wanted, owners):
            if module is not None and wanted is not self.nodes and number in self.nodes:
                continue  # from `_not_in_modules`
            node = wanted[number]
            node.found += 1
            if exempt:
                node.exempt = True
            elif isinstance(where, str):
                node.stuck.append(where)
            elif where is not None:
                node.places.append(where)
                if isinstance(where, Element):
                    node.found += 1  # its own

    def _is_exempt(self, holder: Any, depth: int = _DEPTH) -> bool:
        if id(holder) in self._modules:
            return id(holder) in self._exempt
        if isinstance(holder, dict) and (
            is_exempt(dict.get(holder, "__module__"))  # a class's; a `get` of its own may raise
            or _is_left_alone(holder)  # C modules may keep a copy of their dict
        ):
            return True
        if isinstance(holder, FunctionType):
            # functools.wraps overwrites __module__
            return is_exempt(holder.__globals__.get("__name__"))
        if isinstance(holder, type):
            return is_exempt(holder.__module__)
        if self._is_unsure(holder):
            return depth > 0 and any(
                self._is_exempt(owner, depth - 1) for owner in self._owners_of(holder)
            )
        return is_exempt(type(holder).__module__)

    def _enter_frames(self, wanted: dict[int, Node], paused: list[FrameType]) -> None:
        """Look at the variables of functions: the garbage collector does not know of running ones.

        Args:
            wanted: the objects to look for.
            paused: the frames that the garbage collector did find; a generator's, on CPython 3.10.
        """
        running: set[int] = set()
        stack = list(_current_frames().values())
        while stack:
            frame = stack.pop()
            running.add(id(frame))
            if frame.f_back is not None:
                stack.append(frame.f_back)
            # A module's variables are its globals.
            if frame.f_code.co_flags & CO_OPTIMIZED and not is_exempt(
                frame.f_globals.get("__name__")
            ):
                for variable, value in frame.f_locals.items():
                    node = wanted.get(id(value))
                    if node is not None:
                        # Up to CPython 3.12, what we look at is a copy that the frame keeps.
                        node.found += 1 if sys.version_info >= (3, 13) else 2
                        node.stuck.append(f"the variable {variable!r} of {frame_name(frame)}")
        while paused:
            frame = paused.pop()
            if id(frame) not in running:
                for held in gc.get_referents(frame):
                    if id(held) in wanted:
                        wanted[id(held)].found += 1
                        wanted[id(held)].stuck.append(f"a variable of {frame_name(frame)}")
        # One of them is our own: a cycle.
        del frame


def _excess(node: Node, own: Mapping[int, int]) -> int:
    """How many references to the target of `node` nobody has accounted for, `own` being how many we hold."""
    return sys.getrefcount(node.target) - own.get(id(node.target), 0) - node.found


def _unaskable() -> list[Any]:
    """What `gc.get_referents` must not be asked about."""
    # In CPython 3.12, asyncio's C module counts its free list among its references; whoever takes those and
    # gives them back makes a cycle of the list, and the next who asks never returns.
    if sys.version_info[:2] != (3, 12) or "_asyncio" not in sys.modules:
        return []
    return [sys.modules["_asyncio"]]


def _askable() -> list[Any]:
    found = gc.get_objects()
    for thing in _unaskable():
        found = [holder for holder in found if holder is not thing]
    return found


def _unlisted(kinds: frozenset[type]) -> list[Any]:
    """The instances of `kinds` that are no objects of the garbage collector's, but are held by one."""
    found: dict[int, Any] = {}
    everything = _askable()
    for start in range(0, len(everything), _CHUNK):
        for thing in gc.get_referents(*everything[start : start + _CHUNK]):
            if type(thing) in kinds and not gc.is_tracked(thing):
                found[id(thing)] = thing
    return list(found.values())
