# Entry points for users and developers. `make help` lists them.
.DELETE_ON_ERROR:
.PHONY: help demo install reproduce rounds test test-fast test-slurm test-lowest test-wheel coverage bench lint format type-check docs docs-check man site dist release release-check clean

VENV ?= .venv
PYTHON ?= python3
# Tools run as modules: a package that .venv sees of an outer environment has no program in it.
BIN := $(VENV)/bin
CLI := $(BIN)/unsam
VERSION = $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' unsam_cli/__init__.py)
# Photographs in the scikit-image wheel.
PHOTOS := astronaut.png chelsea.png coffee.png rocket.jpg motorcycle_left.png

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

# One stamp per extra, so that nothing is installed twice. A torch that $(PYTHON) has is used, and said so.
$(VENV)/installed-%: pyproject.toml
	@test -e $(VENV)/constraints.txt || $(PYTHON) .ci/make_venv.py $(VENV)
	@touch $(VENV)/constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint $(VENV)/constraints.txt --editable '.[$*]'
	@touch $@

install: $(VENV)/compiled ## install for development into .venv, and compile kernels

$(VENV)/compiled: $(VENV)/installed-dev
	$(CLI) doctor --compile
	@touch $@

demo: $(VENV)/installed-demo ## segment five photographs, write a report and overlays
	@mkdir -p demo/photos
	@cd demo/photos && ../../$(BIN)/python -c "import pathlib, shutil, sys, skimage; \
	  [shutil.copy(pathlib.Path(skimage.__file__).parent / 'data' / n, '.') for n in sys.argv[1:]]" $(PHOTOS)
	@# make's default shell has no pipefail; with bash, the failure of any stage is an error
	bash -o pipefail -c '\
	  $(CLI) extract-features demo/photos \
	  | $(CLI) divide \
	  | $(CLI) extract-features demo/photos --regions - --whole-image \
	  | $(CLI) conquer -o demo/masks.json'
	$(CLI) view demo/masks.json --images demo/photos -o demo/report.html --overlays demo/overlays --depth 6
	@echo
	@echo "Open demo/report.html in a browser; demo/overlays/ has pictures, demo/masks.json the masks."

reproduce: $(VENV)/installed-test ## make the tables and figures of the paper: SCALE=tiny in minutes, or SCALE=paper (docs/reproduce)
	$(MAKE) -f docs/reproduce/Makefile PYTHON=$(abspath $(BIN)/python) CLI=$(abspath $(CLI))

rounds: $(VENV)/installed-demo ## train on own images without labels, in rounds: IMAGES=photos OUT=rounds ROUNDS=2 (docs/own-images.md)
	@test -n "$(IMAGES)" || { echo "say which images: make rounds IMAGES=photos"; exit 2; }
	CLI=$(abspath $(CLI)) docs/rounds.sh "$(IMAGES)" "$(or $(OUT),rounds)" $(ROUNDS)

test: $(VENV)/installed-test ## install, and run all tests
	@# one thread per process: two processes with two threads each wait for each other
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations 20

test-fast: $(VENV)/installed-test ## run the fast tests
	$(BIN)/python -m pytest -n 2 --dist loadfile -m 'not slow and not browser'

test-slurm: $(VENV)/installed-test ## test array jobs on a private Slurm cluster (apt-get install slurm-wlm munge)
	$(BIN)/python -m pytest tests/slurm

test-lowest: ## run the fast tests with the lowest versions of dependencies that are allowed
	$(PYTHON) -m venv --clear $(VENV)-lowest
	$(VENV)-lowest/bin/python -m pip install --quiet uv
	$(VENV)-lowest/bin/uv pip install --quiet --python $(VENV)-lowest/bin/python --resolution lowest-direct --editable '.[test]'
	OMP_NUM_THREADS=1 $(VENV)-lowest/bin/python -m pytest -n 2 --dist loadfile -m 'not slow and not browser'

test-wheel: dist ## install the wheel alone, and run the pipe away from the checkout
	$(PYTHON) -m venv --clear $(VENV)-wheel
	$(VENV)-wheel/bin/python -m pip install --quiet dist/*.whl
	.ci/try-wheel $(VENV)-wheel/bin

coverage: $(VENV)/installed-test $(VENV)/installed-coverage ## run all tests, and tell which lines none of them runs
	$(BIN)/python -m coverage erase
	@# commands run in processes of their own: pyproject.toml lets coverage follow them
	OMP_NUM_THREADS=1 $(BIN)/python -m coverage run -m pytest -n 2 --dist loadfile --no-loadscope-reorder
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report --skip-covered --show-missing

bench: $(VENV)/installed-test ## run benchmarks against baselines (bench_quality.py needs data: see its help)
	for bench in $(filter-out %/bench_quality.py,$(wildcard tests/benchmarks/bench_*.py)); do echo "== $$bench"; $(BIN)/python $$bench; done

lint: $(VENV)/installed-lint ## check style, and shell files
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	PATH="$(abspath $(BIN)):$$PATH" shellcheck $(filter-out %.py,$(wildcard .ci/*)) docs/*.sh

format: $(VENV)/installed-lint ## fix style
	$(BIN)/python -m ruff check --fix .
	$(BIN)/python -m ruff format .

type-check: $(VENV)/installed-lint $(VENV)/installed-test ## check types
	$(BIN)/python -m mypy unsam_cli tests

docs: $(VENV)/installed-docs ## update the generated parts of the documentation
	$(BIN)/python -m cogapp -r docs/*.md README.md

man: $(VENV)/installed-demo ## write man pages of all commands to build/man
	$(BIN)/python docs/man.py build/man

site: $(VENV)/installed-site ## build the documentation as web pages: build/site/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

docs-check: $(VENV)/installed-docs ## fail if a generated part is out of date
	$(BIN)/python -m cogapp --check docs/*.md README.md

dist: $(VENV)/installed-dist ## build the wheel and the source archive
	rm -rf dist
	$(BIN)/python -m build

release-check: # what only people can forget
	@test -z "$$(git status --porcelain)" || { echo "commit first: the tree is not clean"; exit 1; }
	@grep -q '^## $(VERSION) - [0-9-]*$$' CHANGELOG.md || { echo "CHANGELOG.md has no '## $(VERSION) - YYYY-MM-DD'"; exit 1; }
	@test -z "$$(git tag --list 'v$(VERSION)')" || { echo "v$(VERSION) is released: set __version__ in unsam_cli/__init__.py"; exit 1; }

release: release-check ## check everything and build what is to be uploaded (CONTRIBUTING.md)
	$(MAKE) lint type-check docs-check
	$(MAKE) test
	$(MAKE) test-wheel
	$(BIN)/python -m twine check --strict dist/*
	@echo "Ready. Now: git tag v$(VERSION) && git push origin v$(VERSION) && $(BIN)/python -m twine upload dist/*"

clean: ## remove generated files, but keep .venv
	rm -rf build dist demo rounds docs/reproduce/out *.egg-info .mypy_cache .pytest_cache .ruff_cache .coverage*
