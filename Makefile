# Everything from a machine that has Python 3.11 or newer with venv: `make demo` and `make test` set themselves up.
PYTHON ?= python3
DEMO_VENV := .venv-demo
VENV := .venv
OUT ?= demo-run
PIP := -m pip install --quiet --disable-pip-version-check

.PHONY: demo test lint bench docs wheels clean

# Only what the demonstration needs: no torch.
$(DEMO_VENV)/.ready: packages/l0-core/pyproject.toml packages/l0-gates/pyproject.toml packages/l0-calibrate/pyproject.toml
	$(PYTHON) -m venv $(DEMO_VENV)
	$(DEMO_VENV)/bin/python $(PIP) -e packages/l0-core -e packages/l0-gates -e 'packages/l0-calibrate[report]'
	touch $@

$(VENV)/.ready: requirements-dev.txt constraints.txt $(wildcard packages/*/pyproject.toml)
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python $(PIP) -c constraints.txt -r requirements-dev.txt
	touch $@

demo: $(DEMO_VENV)/.ready
	$(DEMO_VENV)/bin/l0-calibrate demo --out $(OUT)

test: $(VENV)/.ready
	$(VENV)/bin/python -m pytest tests -n 2 --dist worksteal

lint: $(VENV)/.ready
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy packages/l0-core/src packages/l0-torch/src packages/l0-gates/src packages/l0-calibrate/src packages/l0-python/src
	$(VENV)/bin/lint-imports

bench: $(VENV)/.ready
	$(VENV)/bin/python -m pytest benchmarks --benchmark-only --benchmark-sort=name

# The code blocks of the READMEs and docs and the examples of docstrings are tests; this runs those alone.
docs: $(VENV)/.ready
	$(VENV)/bin/python -m pytest tests/docs

wheels: $(VENV)/.ready
	for package in packages/*; do $(VENV)/bin/python -m build --quiet --wheel --no-isolation --outdir dist $$package; done

# Compiled kernels too: those of other versions of the sources stay behind, unused.
clean:
	rm -rf $(VENV) $(DEMO_VENV) dist $(OUT)
	find packages \( -name '*.nbi' -o -name '*.nbc' \) -delete
