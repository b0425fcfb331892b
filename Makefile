# make test            run the tests               (ARGS="-k queue" is passed to pytest; JOBS=0: in one process)
# make demo            run the main job            (URL=http://host/ crawls that site; DEMO_ARGS="..." is passed on)
# make bench           compare with other layers   (BENCH_ARGS="-w 'echo-*' --rounds 3"; --help lists all)
# make docs            build the documentation     (build/docs/index.html)
# make gevent-compat   run gevent's own tests on greenify's loop (ARGS="test__hub" for some; 20 minutes for all)
# make dist            build what goes to PyPI, into dist/ (DIST_ARGS="--python 3.11 --target x86_64-linux-gnu"; --help lists all)
# make lint, make type, make ci, make clean
#
# Everything is installed into .venv. It is made with python3, with the newest python3.X where that is too old,
# or with PYTHON=/path/to/python3.

VENV := .venv
# Many tests wait for timers and processes: three at a time keep two processors busy.
JOBS ?= 3
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check

# What an installation depends on; the Python code itself is used from this folder (an editable install).
INSTALL_INPUTS := setup.cfg setup.py pyproject.toml $(wildcard build_backend/*.py build_backend/*.h)

.PHONY: test demo bench docs dist gevent-compat ecosystem lint type ci clean

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup $(ARGS)

demo: $(VENV)/.installed-demo
	$(BIN)/python examples/demo.py $(if $(URL),--url '$(URL)') $(DEMO_ARGS)

bench: $(VENV)/.installed-bench
	$(BIN)/python -m benchmarks $(BENCH_ARGS)

docs: $(VENV)/.installed-docs
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet --fresh-env -d build/doctrees docs build/docs
	@echo "the documentation is in build/docs/index.html"

dist: $(VENV)/.installed-dist
	$(BIN)/python -m build_backend.dist $(DIST_ARGS)

gevent-compat: $(VENV)/.installed-test
	$(BIN)/python -m tests.gevent_compat $(ARGS)

ecosystem: $(VENV)/.installed-test
	$(BIN)/python -m tests.ecosystem $(ARGS)

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

type: $(VENV)/.installed-test
	$(BIN)/mypy

ci:
	.ci/run

clean:
	rm -rf $(VENV) .tox build dist *.egg-info greenify/_vendor/pyuv/*.so build_backend/pyuv-*.tar.gz

$(VENV)/.installed-%: $(INSTALL_INPUTS) | $(VENV)/.created
	@echo "installing greenify and what 'make $*' needs into $(VENV) (compiles the bundled pyuv the first time)"
	@$(PIP_INSTALL) --editable '.[$*]'
	@touch $@

# An existing environment with a suitable Python is used as it is.
$(VENV)/.created:
	@if [ -z '$(PYTHON)' ] && .ci/find-python --at $(BIN)/python >/dev/null 2>&1; then touch $@; exit; fi; \
	python='$(PYTHON)'; \
	if [ -z "$$python" ]; then python=$$(.ci/find-python) || exit 1; fi; \
	echo "making $(VENV) with $$python"; \
	"$$python" -m venv --clear $(VENV) && touch $@
