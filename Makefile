# Two commands: `make demo` draws everybody's pose into a picture, `make test` checks everything.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DETECTOR ?=
POSE ?=

.PHONY: demo test test-browser docs site dist clean

demo: $(VENV)/core
	$(BIN)/rmpe predict examples/pedestrians.jpg --out out/demo $(if $(DETECTOR),--detector $(DETECTOR)) $(if $(POSE),--pose $(POSE))
	@echo "look at out/demo/drawn/pedestrians.jpg"

test: $(VENV)/dev
	$(BIN)/ruff format --check src tests benchmarks website
	$(BIN)/ruff check src tests benchmarks website
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not browser"

# The pages in a browser: that of `rmpe serve` and that of the site. Needs Chromium (Debian: apt-get install chromium; else set CHROMIUM); skips without it.
test-browser: $(VENV)/browser
	RMPE_BROWSER=$${RMPE_BROWSER-1} $(BIN)/python -m pytest tests/browser tests/site/test_demo.py

# The site, into out/site. Strict: a page without a place, or a link that leads nowhere, is an error.
site: $(VENV)/site
	$(BIN)/python website/engines.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build

# The picture at the top of the README, and the results.
docs: $(VENV)/dev
	$(BIN)/python -m benchmarks.front_door.hero $(if $(DETECTOR),--detector $(DETECTOR)) $(if $(POSE),--pose $(POSE))
	$(BIN)/python -m benchmarks.render

# Wheel and sdist, as a release has them, checked.
dist: $(VENV)/dev
	rm -rf dist
	$(BIN)/python -m build --outdir dist
	$(BIN)/python -m twine check --strict dist/*

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/core: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	@touch $@ $(VENV)/core

$(VENV)/site: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[site]"
	@touch $@ $(VENV)/core

$(VENV)/browser: pyproject.toml $(VENV)/dev
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[browser]"
	@touch $@

clean:
	rm -rf $(VENV) out build dist .mypy_cache .pytest_cache .ruff_cache
