"""CPython's multiprocessing tests with "spawn", where an installation lacks just this module."""

import test._test_multiprocessing

test._test_multiprocessing.install_tests_in_module_dict(globals(), "spawn")
