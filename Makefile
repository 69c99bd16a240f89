# The developer's and the newcomer's entry points. `make help` lists them.
.DELETE_ON_ERROR:
.PHONY: help demo install reproduce test test-fast test-slurm bench lint format type-check docs docs-check dist clean

VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
UNSAM := $(BIN)/unsam
# Photographs that the scikit-image wheel carries.
PHOTOS := astronaut.png chelsea.png coffee.png rocket.jpg motorcycle_left.png

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

# One stamp an extra, so that nothing is installed twice.
$(VENV)/installed-%: pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@

install: $(VENV)/installed-dev ## install for development into .venv

demo: $(VENV)/installed-demo ## segment five photographs and leave pictures to look at
	@mkdir -p demo/photos
	@cd demo/photos && ../../$(BIN)/python -c "import pathlib, shutil, sys, skimage; \
	  [shutil.copy(pathlib.Path(skimage.__file__).parent / 'data' / n, '.') for n in sys.argv[1:]]" $(PHOTOS)
	@# make's default shell has no pipefail: bash tells when any stage fails
	bash -o pipefail -c '\
	  $(UNSAM) extract-features demo/photos \
	  | $(UNSAM) divide \
	  | $(UNSAM) extract-features demo/photos --regions - --whole-image \
	  | $(UNSAM) conquer -o demo/masks.json'
	$(UNSAM) view demo/masks.json --images demo/photos -o demo/report.html --overlays demo/overlays --depth 6
	@echo
	@echo "Open demo/report.html in a browser; demo/overlays/ has pictures, demo/masks.json the masks."

reproduce: $(VENV)/installed-test ## the tables of the paper: SCALE=tiny in minutes, or SCALE=paper (docs/reproduce)
	$(MAKE) -C docs/reproduce PYTHON=$(abspath $(BIN)/python) UNSAM=$(abspath $(UNSAM))

test: $(VENV)/installed-test ## install, and run all tests
	@# a thread each: two processes with two threads each wait for each other
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations 20

test-fast: $(VENV)/installed-test ## run the tests that take no time
	$(BIN)/python -m pytest -n 2 --dist loadfile -m 'not slow and not browser'

test-slurm: $(VENV)/installed-test ## try array jobs on a Slurm of our own (apt-get install slurm-wlm munge)
	$(BIN)/python -m pytest tests/slurm

bench: $(VENV)/installed-test ## print ratios against baselines (bench_quality.py needs data: see its help)
	for bench in $(filter-out %/bench_quality.py,$(wildcard tests/benchmarks/bench_*.py)); do echo "== $$bench"; $(BIN)/python $$bench; done

lint: $(VENV)/installed-lint ## check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/installed-lint ## mend style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

type-check: $(VENV)/installed-lint ## check types
	$(BIN)/mypy unsam_cli

docs: $(VENV)/installed-docs ## write the generated parts of the documentation
	$(BIN)/cog -r docs/*.md README.md

docs-check: $(VENV)/installed-docs ## fail if a generated part is out of date
	$(BIN)/cog --check docs/*.md README.md

dist: $(VENV)/installed-dist ## build the wheel and the source archive
	$(BIN)/python -m build

clean: ## remove what was made, but not .venv
	rm -rf build dist demo docs/reproduce/out *.egg-info .mypy_cache .pytest_cache .ruff_cache
