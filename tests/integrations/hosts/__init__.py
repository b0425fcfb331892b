"""Where people run greenify: servers, frameworks and tools, as their users start them.

The packages are those of the extra "hosts".  A test whose package is missing is skipped with its name; with
GREENIFY_REQUIRE_SERVERS=1 in the environment, as in .ci/run, it fails instead.  PostgreSQL is Debian's: tests
that have the marker `servers` start it (see tests/libraries/servers.py).
"""
