"""The figures in the README are those of the tables that they are said to come from."""

from __future__ import annotations

import re

from tests.support import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
RESULTS = (ROOT / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8")


def test_cpythons_own_tests() -> None:
    table = (ROOT / "tests" / "stdlib_compat" / "RESULTS.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| (3\.[\d.]+) \| \d+ \| (\d+) \| (\d+) \| \d+ \| \*\*([\d.]+%)\*\* \|$",
        table,
        re.MULTILINE,
    )
    assert len(rows) >= 6
    for version, plain, patched, rate in rows:
        assert f"| {version} | {int(plain):,} | {int(patched):,} | {rate} |" in README


def test_speed() -> None:
    def goal(name: str) -> str:
        found = re.search(rf"^\| {re.escape(name)} \| [\d.]+ \| ([\d.]+) \|", RESULTS, re.MULTILINE)
        assert found is not None, name
        return f"{float(found[1]):.1f}"

    first = goal("echo-1: times gevent's speed")
    many = goal("echo-1000: times gevent's speed")
    against_asyncio = goal("echo-100: against asyncio")
    assert (
        f"**{first} times gevent's speed** for a connection that echoes, {many} times for a thousand, "
        f"{against_asyncio} times asyncio's for a hundred" in README
    )
