# Two commands do everything, set-up included: `make demo` and `make test`.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

.PHONY: demo test quick lint benchmark screenshots setup system clean
.DEFAULT_GOAL := help

help:
	@echo "make demo       train, predict and show the built-in beating heart"
	@echo "make test       run all checks and tests"
	@echo "make quick      run the tests of values, files, physics, metrics and data (2 minutes)"
	@echo "make benchmark  measure speed and model quality (hours)"

demo: setup
	$(BIN)/napari-mrgen demo --out demo

# As many processes as cores, each with one thread: several pools of threads would fight.
test: export OMP_NUM_THREADS = 1
test: setup lint
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

# The half of the tests that needs no training and no window.
quick: export OMP_NUM_THREADS = 1
quick: setup
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile \
		tests/io tests/samples tests/mri tests/nn tests/metrics tests/data tests/compatibility tests/test_*.py

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/package_counts.py
	$(BIN)/python scripts/files_entered.py

# The window of the second one needs a display; without a real one, run this under xvfb-run.
benchmark: setup
	$(BIN)/python benchmarks/reading.py
	$(BIN)/python benchmarks/responsiveness.py
	$(BIN)/python benchmarks/frame_prediction.py runs/frame_prediction
	$(BIN)/python benchmarks/brain_slices.py runs/brain_slices
	$(BIN)/python benchmarks/many_samples.py runs/brain_slices/dcgan
	$(BIN)/python benchmarks/cyclegan.py runs/cyclegan
	$(BIN)/python benchmarks/cyclegan_memory.py
	$(BIN)/python benchmarks/cyclegan_memory.py --published
	$(BIN)/python benchmarks/cyclegan_translation.py
	$(BIN)/python benchmarks/nufft.py
	$(BIN)/python benchmarks/reconstruction.py runs/reconstruction
	$(BIN)/python benchmarks/reconstruction_table.py runs/reconstruction-table

screenshots: setup
	$(BIN)/python docs/screenshots.py

setup: system $(VENV)/.installed

# Again when what is to be installed has changed.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "pip>=25.1"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[all]" --group test
	touch $@

system:
	@sh scripts/system-libraries.sh

clean:
	rm -rf $(VENV) demo .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
