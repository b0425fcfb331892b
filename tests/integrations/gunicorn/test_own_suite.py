"""gunicorn's own tests of running workers, from its source distribution, on our worker.

They are copied, and the name of the worker that each starts is replaced.  gunicorn's other tests call its own
workers' methods, or no worker at all.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.integrations.gunicorn.servers import GREENIFY, needs_gunicorn
from tests.integrations.gunicorn.sources import needs_sources, unpack
from tests.support import child_env

#: What is replaced in each module, and what by.
OURS: Mapping[str, Sequence[tuple[str, str]]] = {
    "test_signal_integration.py": [
        ("'--worker-class', 'sync'", f"'--worker-class', '{GREENIFY}'"),
    ],
    "test_control_socket_integration.py": [
        ("app_name, 'gthread'", f"app_name, '{GREENIFY}'"),
        ("app_name, 'gevent'", f"app_name, '{GREENIFY}'"),
        ("'--worker-class', 'sync'", f"'--worker-class', '{GREENIFY}'"),
    ],
    "test_gthread_keepalive_shutdown.py": [
        ('"--worker-class", "gthread"', f'"--worker-class", "{GREENIFY}"'),
    ],
    "test_http2_live.py": [
        ('WORKERS = ["gthread", "asgi"]', f'WORKERS = ["{GREENIFY}"]'),
        ('WORKERS.append("gevent")', "pass"),
    ],
}

OPTIONS = ("-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider")


@needs_gunicorn
@needs_sources
@pytest.mark.parametrize("module", OURS)
def test_of_gunicorn_s_own(tmp_path: Path, module: str) -> None:
    unpack(tmp_path, "tests/support/", f"tests/{module}")
    copy = tmp_path / "tests" / module
    text = copy.read_text()
    for theirs, ours in OURS[module]:
        assert theirs in text, f"gunicorn's {module} no longer has {theirs}"
        text = text.replace(theirs, ours)
    copy.write_text(text)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    done = subprocess.run(
        [sys.executable, *OPTIONS, f"tests/{module}"],
        cwd=tmp_path,
        env=child_env(
            {
                "PYTEST_ADDOPTS": "",
                "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
                "HOME": str(tmp_path),
                "PYTEST_TMP": str(tmp_path),
            }
        ),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=170,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout, done.stdout
