"""CPython's own tests of the modules that greenify replaces, run plain and under greenify, and compared.

    python -m tests.stdlib_compat --module test_queue --module test_ssl -v
    python -m tests.stdlib_compat --all --markdown tests/stdlib_compat/RESULTS.md

The tests are the ones that the running interpreter carries in its `test` package; nothing of them is copied
or changed. `modules.py` says which are run, `expected.py` which tests can't pass and why.

From low to high: `outcomes` (the records), `processes` (stacks and clean-up), `child` (runs the tests, inside
the process under test), `supervisor` (starts children, survives their hangs and crashes), `modules`,
`expected`, `interpreters`, `control` (the unpatched runs, cached), `comparison`, `report`, `__main__`.
"""
