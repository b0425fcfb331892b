"""Run other projects' own tests with real threads and under greenify.

    python -m tests.ecosystem [NAME ...]

Each project of `projects.PROJECTS` gets a virtual environment under ``build/ecosystem`` (this needs PyPI).
A test that differs is run once more by itself, both ways, since many measure times. The exit status is 0 if
every test that passes with threads passes under greenify, but for the rows.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.ecosystem.comparison import Verdict, compare, differing
from tests.ecosystem.projects import PROJECTS, Project
from tests.ecosystem.running import Run, Setting, prepare, run_tests

RESULTS = Path(__file__).resolve().parent / "RESULTS.md"


def judge(project: Project, setting: Setting, timeout: float) -> tuple[Run, Run, Verdict]:
    """Run the tests with threads and under greenify, and once more those that differ."""
    control = run_tests(project, setting, green=False, timeout=timeout)
    green = run_tests(project, setting, green=True, timeout=timeout)
    new = compare(control.outcomes, green.outcomes, project.expected).worse
    again = None
    if new and green.outcomes:
        first = run_tests(project, setting, green=False, timeout=timeout, only=new)
        second = run_tests(project, setting, green=True, timeout=timeout, only=new)
        again = first.outcomes, second.outcomes
    return control, green, compare(control.outcomes, green.outcomes, project.expected, again)


def describe(control: Run, green: Run, verdict: Verdict) -> str:
    """The comparison in words, for the line of a project."""
    if not control.outcomes or not green.outcomes:
        return "not compared"
    said = []
    if verdict.worse:
        said.append(f"{len(verdict.worse)} fail under greenify only")
    if verdict.expected:
        said.append(f"{len(verdict.expected)} expected")
    if verdict.unsteady:
        said.append(f"{len(verdict.unsteady)} differed in the first run only")
    if better := differing(green.outcomes, control.outcomes):
        said.append(f"{len(better)} failed with threads only")
    if verdict.dead:
        said.append(f"{len(verdict.dead)} rows to delete")
    return ", ".join(said) or "the same"


def record(page: str, project: Project, version: str, control: Run, green: Run, said: str) -> str:
    """The page of results with the project's line for this CPython replaced, or added below its others."""
    cells = f"{project.name} {project.version}", version, str(control), str(green), said
    line = f"| {' | '.join(cells)} |"
    python = version.split(".")[:2]
    lines = page.splitlines()
    table = [index for index, text in enumerate(lines) if text.startswith("|")]
    own = [index for index in table if lines[index].startswith(f"| {project.name} ")]
    for index in own:
        if lines[index].split("|")[2].strip().split(".")[:2] == python:
            lines[index] = line
            break
    else:
        lines.insert((own or table)[-1] + 1, line)
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.ecosystem", description=__doc__)
    names = [project.name for project in PROJECTS]
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names)}; all")
    parser.add_argument("--python", default=sys.executable, help="the interpreter to test with")
    parser.add_argument("--timeout", type=float, default=2400, help="seconds for one run")
    parser.add_argument("--record", action="store_true", help=f"write into {RESULTS.name}")
    options = parser.parse_args()
    if unknown := sorted(set(options.names) - set(names)):
        parser.error(f"no such project: {', '.join(unknown)}; there are {', '.join(names)}")
    wrong = 0
    for project in PROJECTS:
        if options.names and project.name not in options.names:
            continue
        setting = prepare(project, options.python)
        control, green, verdict = judge(project, setting, options.timeout)
        said = describe(control, green, verdict)
        bad = verdict.wrong or not control.outcomes or not green.outcomes
        wrong += bad
        times = f"{control.seconds:.0f} s and {green.seconds:.0f} s"
        print(f"{project.title:18} threads: {control}; greenify: {green}; {said} ({times})")
        for kind in ("worse", "unsteady", "expected", "dead"):
            for test in getattr(verdict, kind):
                print(f"    {kind}: {test}")
        sys.stdout.flush()
        if options.record:
            page = record(RESULTS.read_text(), project, setting.version, control, green, said)
            RESULTS.write_text(page)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
