"""python-ldap: libldap waits in C; every connection has a native thread of its own.

The objects in C, which the classes of ``ldap.ldapobject`` keep in ``_l``, are wrapped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from greenify.libraries._in_c import Wrapped
from greenify.libraries.record import Library
from greenify.libraries.remedies import like

__all__ = ["LIBRARY"]


class _Connection(Wrapped):
    _waiting = frozenset({
        "abandon_ext", "add_ext", "cancel", "compare_ext", "delete_ext", "extop", "modify_ext", "passwd",
        "refresh", "rename", "result4", "sasl_bind_s", "sasl_interactive_bind_s", "search_ext",
        "simple_bind", "start_tls_s", "unbind_ext", "whoami_s",
    })  # fmt: skip


def _makes_connections(original: Callable[..., Any]) -> Any:
    def twin(*args: Any, **kwargs: Any) -> Any:
        return _Connection(original(*args, **kwargs))  # connects when first used

    return like(original, twin)


LIBRARY = Library(
    package="python-ldap",
    tested="3.4",
    replace={"_ldap": {"initialize": _makes_connections, "initialize_fd?": _makes_connections}},
    stays={"a time-out or a kill": "arrives when the call has ended: set the connection's timeout"},
)
