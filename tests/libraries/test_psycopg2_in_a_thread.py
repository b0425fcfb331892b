"""The programs that use psycopg2 in the main thread, in another one: there statements wait on the hub."""

from __future__ import annotations

import textwrap
from typing import Any

import pytest

from tests.libraries import test_psycopg2
from tests.libraries.servers import Server
from tests.support import Mode

pytestmark = pytest.mark.servers


class TestInAThread(test_psycopg2.TestPsycopg2):
    test_interrupted: Any = None  # what a signal interrupts is the main thread

    def check(self, code: str, mode: Mode, server: Server, timeout: float = 90) -> str:
        program = textwrap.indent(textwrap.dedent(code), " " * 8)
        code = f"\n    def whole():\n        global PORT\n{program}\n    Thread(whole).end(60)\n"
        return super().check(code, mode, server, timeout)
