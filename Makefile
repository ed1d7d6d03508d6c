# The commands of this project; `make` alone lists them. Every one sets up .venv on first use, `make bench` .venv-bench too.

# How many cores the workflow may use, which of config.yaml's studies to run (none: the one it names), and a file with values
# on top of config.yaml, such as a study of its own.
CORES ?= 4
STUDY ?=
CONFIGFILE ?=
# The next two count when .venv is made; remove an old one first: `rm -r .venv`.
# TORCH_BACKEND is uv's name of a build of torch (cpu, cu130, auto ...); empty: the build of PyPI.
TORCH_BACKEND ?=
# PYTHON=/path/to/python; empty: the first Python of a supported version.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c '$(CHECK_VERSION)' 2>/dev/null && echo $$python && break; done)
CHECK_VERSION = import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))

# So that `from deepnets import load` works in any folder, and an edit of the library counts at once.
LINK_LIBRARY = import os, sysconfig; os.symlink(os.path.abspath("scripts/deepnets"), sysconfig.get_path("purelib") + "/deepnets")

INSTALLED := .venv/.installed
BENCH_INSTALLED := .venv-bench/.installed

# Only what `make` or the workflow has made is deleted. A link may lead to anything, and an environment of `make setup` is
# known by its prompt (one of version 0.1.0: by the file that marks it as installed).
define refuse_links
for name in $(1); do [ ! -L $$name ] || { \
	echo "make: $$name is a link, and this would delete what it leads to; remove the link first: rm $$name" >&2; exit 1; }; done
endef
define refuse_foreign_venv
$(call refuse_links,$(1)); [ ! -e $(1) ] || [ -z "$$(ls -A $(1) 2>&1)" ] || [ -e $(1)/.installed ] || \
	grep -qs "^prompt = 'deeper-networks'" $(1)/pyvenv.cfg || { \
	echo "make: $(1) was not made by make $(2), and this would delete it; move it away: mv $(1) other-venv" >&2; exit 1; }
endef

VENV := .venv/bin
# What other environments have put on PYTHONPATH must not replace the pinned packages.
unexport PYTHONPATH PYTHONHOME
# Seconds; torch and what comes with it are several GB, and uv's own limit of 30 is short for a slow line.
export UV_HTTP_TIMEOUT ?= 300

# Where there is no home folder that can be written (a container's user without an account), Snakemake keeps its files here.
ifneq ($(shell test -d "$$HOME" && test -w "$$HOME" && echo yes),yes)
export HOME := $(CURDIR)/.snakemake/home
$(shell mkdir -p .snakemake/home)
endif

# make takes any variable, so that `make report cores=2` would silently run on CORES.
NAMES := CORES STUDY CONFIGFILE EXPERIMENT PORT A B TORCH_BACKEND PYTHON
$(foreach name,$(filter-out $(NAMES),$(.VARIABLES)),$(if $(filter command line,$(origin $(name))),\
	$(if $(filter $(NAMES),$(shell echo '$(name)' | tr a-z A-Z)),\
		$(error write this setting in capitals: $(shell echo '$(name)' | tr a-z A-Z)=$($(name))))))
# A value as one word of the shell, whatever it holds.
quoted = '$(subst ','\'',$1)'
# Behind the targets of Snakemake, as its --configfile takes all words that follow.
FILE_OPTION = $(if $(CONFIGFILE),--configfile $(call quoted,$(CONFIGFILE)))
STUDY_OPTIONS = $(FILE_OPTION) $(if $(STUDY),--study $(call quoted,$(STUDY)))
# Before anything is installed.
$(if $(shell case $(call quoted,$(CORES)) in (*[!0-9]*|''|0*) echo wrong;; esac),\
	$(error CORES='$(CORES)' must be a number of cores from 1 up; write: make report CORES=2))

.DEFAULT_GOAL := help
.PHONY: help setup report report-now search status watch compare why bundle serve test test-all test-browser test-cluster chaos bench bench-scale lint schema requirements clean distclean

help:  ## List the commands
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 22
	@echo "Settings, as in \`make report CORES=2 STUDY=paper\`: CORES, STUDY, CONFIGFILE (a file with a study of its own, merged into config.yaml), for compare A, B, for bundle and serve EXPERIMENT, PORT, for setup TORCH_BACKEND, PYTHON."

setup: $(INSTALLED)  ## Install the pinned requirements into .venv

# Compiled once here, not by every first job. requirements.txt is used as constraints: with another build of torch, the CUDA libraries it pins are not wanted.
INSTALL = $(VENV)/python -m uv pip install --compile-bytecode --python .venv/bin/python \
	$(if $(TORCH_BACKEND),--torch-backend '$(TORCH_BACKEND)') --requirements pyproject.toml --extra dev --constraints requirements.txt
$(INSTALLED): requirements.txt
	@'$(PYTHON)' -c '$(CHECK_VERSION)' 2>/dev/null || { \
		echo "make setup: needs Python 3.11, 3.12 or 3.13 (PYTHON='$(PYTHON)' is not); name one: make setup PYTHON=python3.12" >&2; \
		exit 1; }
	@$(call refuse_foreign_venv,.venv,setup)
	'$(PYTHON)' -m venv --clear --prompt deeper-networks .venv
	$(VENV)/python -m pip install --quiet --disable-pip-version-check "$$(grep '^uv==' requirements.txt)"
	@echo $(call quoted,$(INSTALL)); $(INSTALL) || { \
		status=$$?; [ -z '$(TORCH_BACKEND)' ] || echo 'make setup: if a server was not reached: this build of torch is on the server of PyTorch alone, not on PyPI. Where you reach only PyPI or a mirror of it, run make setup without TORCH_BACKEND' >&2; \
		exit $$status; }
	@$(VENV)/python -c '$(LINK_LIBRARY)'
	@printf %s '$(TORCH_BACKEND)' > $@

# The libraries that `make bench` compares with bring a hundred packages, so they have an environment of their own. It has the
# same Python and the same pins as .venv, and the build of torch that .venv has been given: its name is in .venv/.installed.
$(BENCH_INSTALLED): benchmarks/requirements.txt $(INSTALLED)
	@$(call refuse_foreign_venv,.venv-bench,bench)
	$(VENV)/python -m venv --clear --prompt deeper-networks .venv-bench
	$(VENV)/python -m uv pip install --compile-bytecode --python .venv-bench/bin/python $$(sed 's/^/--torch-backend /' $(INSTALLED)) \
		--requirements pyproject.toml --extra bench --constraints benchmarks/requirements.txt
	@touch $@

RUN_STUDY = $(VENV)/python -m snakemake results/report.md all --cores $(CORES) $(FILE_OPTION) $(if $(STUDY),--config $(call quoted,study=$(STUDY)))
report: setup  ## Run the study and write results/report.md and report.html (CORES=4, STUDY=demo)
	@echo $(call quoted,$(RUN_STUDY)); $(RUN_STUDY) || { \
		status=$$?; echo 'The report of the experiments that are finished: make report-now' $(if $(CONFIGFILE),$(call quoted,CONFIGFILE=$(CONFIGFILE))) $(if $(STUDY),$(call quoted,STUDY=$(STUDY))) >&2; \
		exit $$status; }
	@$(VENV)/python scripts/show_report.py

report-now: setup  ## Write the report of the experiments that are finished, results/report.partial.md (STUDY=demo)
	@$(VENV)/python scripts/report_now.py $(STUDY_OPTIONS)

search: setup  ## Search for recipe values, as a search of config.yaml says: STUDY=its name
	$(if $(STUDY),,$(error name a search of config.yaml: make search STUDY=rates))
	@$(VENV)/python scripts/search.py $(call quoted,$(STUDY)) --cores $(CORES) $(FILE_OPTION)

status: setup  ## Show which experiments run, failed, wait or are done, and the time left (STUDY=demo)
	@$(VENV)/python scripts/status.py $(STUDY_OPTIONS)

watch: setup  ## Show the same again every 5 seconds until all are done; Ctrl-C ends it
	@$(VENV)/python scripts/status.py --watch $(STUDY_OPTIONS)

compare: setup  ## Compare two results folders, metrics.csv or git revisions: A=old/results B=results
	$(if $(and $(A),$(B)),,$(error name both states: make compare A=HEAD~1:docs/runs/demo B=results))
	@$(VENV)/python scripts/compare_states.py $(call quoted,$(A)) $(call quoted,$(B))

why: setup  ## Explain why jobs are out of date: which setting or file changed, from what to what
	@$(VENV)/python scripts/why.py $(STUDY_OPTIONS)

bundle: setup  ## Pack a network for other machines into bundle.zip (EXPERIMENT=results/digits/mobilenet_v2/quick/seed0)
	$(if $(EXPERIMENT),,$(error name an experiment: make bundle EXPERIMENT=results/digits/mobilenet_v2/quick/seed0))
	$(VENV)/python -m snakemake --cores $(CORES) $(call quoted,$(EXPERIMENT:/=)/bundle.zip) $(FILE_OPTION)

serve: setup  ## Serve a page on this machine that predicts pictures (EXPERIMENT=results/digits/mobilenet_v2/quick/seed0 PORT=8000)
	$(if $(EXPERIMENT),,$(error name an experiment: make serve EXPERIMENT=results/digits/mobilenet_v2/quick/seed0))
	@$(VENV)/python scripts/serve.py $(call quoted,$(EXPERIMENT)) $(if $(PORT),--port $(call quoted,$(PORT)))

test: setup  ## Run the tests in parallel, under 10 minutes on two cores
	$(VENV)/python -m pytest -n auto --dist worksteal

test-all: setup  ## Run all tests but those of browser and cluster: also random kills, data larger than memory; 36 minutes
	$(VENV)/python -m pytest -n auto --dist worksteal --full

test-browser: setup  ## Open the pages of reports in a Chromium, 3 minutes; as root on Debian it installs Chromium
	command -v chromium > /dev/null || command -v google-chrome > /dev/null || tests/install.sh chromium
	MUST_RUN=1 $(VENV)/python -m pytest tests/browser

test-cluster: setup  ## Run studies through SLURM on this machine, 15 minutes; as root on Debian it installs SLURM
	tests/install.sh munge slurmctld slurmd slurm-client slurmdbd mariadb-server
	MUST_RUN=1 $(VENV)/python -m pytest tests/cluster

chaos: setup  ## Kill a training run at 100 random moments and compare the bytes, 20 minutes; before a release
	KILLS=100 $(VENV)/python -m pytest --full tests/e2e/test_kills.py

bench: $(BENCH_INSTALLED)  ## Measure speed and minutes to an accuracy next to timm, Lightning, fastai and a plain loop; takes hours
	PYTHONPATH=scripts .venv-bench/bin/python benchmarks/speed.py
	PYTHONPATH=scripts .venv-bench/bin/python benchmarks/time_to_accuracy.py --study paper_jpeg --max-minutes 15

bench-scale: setup  ## Measure what the workflow costs by itself, 10 to 1,500 experiments, and large data, 20 minutes
	PYTHONPATH=scripts $(VENV)/python benchmarks/scale.py
	PYTHONPATH=scripts $(VENV)/python benchmarks/prepare_speed.py
	PYTHONPATH=scripts $(VENV)/python benchmarks/read_speed.py

lint: setup  ## Check style, types, words, imports, rules, the schema of config.yaml and known vulnerabilities
	$(VENV)/python -m ruff check
	$(VENV)/python -m ruff format --check
	$(VENV)/python -m mypy
	$(VENV)/python -m codespell_lib
	PYTHONPATH=scripts $(VENV)/lint-imports
	$(VENV)/python -m snakefmt --check Snakefile workflow
	$(VENV)/python -m snakemake --lint
	$(VENV)/python scripts/schema.py --check
	@$(VENV)/python scripts/vulnerabilities.py

schema: setup  ## Write the schema of config.yaml and docs/configuration.md again
	$(VENV)/python scripts/schema.py

requirements: setup  ## Compile both requirements.txt again from pyproject.toml (then update environment.yml: a test says how)
	$(VENV)/python -m uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url \
		--custom-compile-command "make requirements" pyproject.toml --extra dev --output-file requirements.txt
	$(VENV)/python -m uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url \
		--custom-compile-command "make requirements" pyproject.toml --extra bench --constraints requirements.txt \
		--output-file benchmarks/requirements.txt

clean:  ## Remove results, model cards, logs and prepared data without asking; downloads and your own files in data/ and results/ stay
	@$(call refuse_links,results data)
	if [ -d results ]; then find results/ -type f \( -path 'results/report*' -o -path 'results/metrics*.csv' \
		-o -path results/workflow.html -o -path 'results/search-*' -o -path 'results/environment*.json' -o -name model.safetensors \
		-o -name model.onnx -o -name model_onnx.json -o -name 'model_fp16.*' -o -name 'model_int8.*' -o -name model.pt2 -o -name model_pt2.json \
		-o -name MODEL_CARD.md -o -name bundle.zip -o -name predictions.safetensors -o -path '*/seed*/predictions.csv' -o -name metrics.json \
		-o -name history.csv -o -name timing.json -o -name robustness.json -o -name latency.json -o -name 'summary.*' \
		-o -regex 'results/[^/]*/comparison\([-.][^/]*\)*/[^/]*' -o -path '*/figures/*' -o -path '*/images/samples.png' \
		-o -path '*/.resume/*' -o -name '.*.sha256' -o -name '.train.*' -o -name '.*.deepnets-????????*' \) -delete; \
		find results/ -mindepth 1 -type d -empty -delete; fi
	if [ -d data ]; then find data/ -mindepth 2 -maxdepth 2 \( -name raw.json -o -name dataset.json -o -name audit.json \
		-o -name train_images.npy -o -name train_labels.npy -o -name test_images.npy -o -name test_labels.npy \
		-o -name '.*.deepnets-????????*' -o -name .prepare.sha256 -o -name .download.sha256 -o -name .audit.sha256 -o -name .unfinished \
		-o -name .prepare.lock -o -name .download.lock \) -exec rm -r {} +; fi
	rm -rf .snakemake logs

distclean: clean  ## Remove downloads, .venv and .venv-bench as well
	@$(call refuse_foreign_venv,.venv,setup); $(call refuse_foreign_venv,.venv-bench,bench)
	@$(call refuse_links,data/_weights)
	if [ -d data ]; then rm -rf data/_weights/torchvision data/_weights/timm; \
		find data/ -mindepth 3 -maxdepth 3 -path '*/raw/.downloaded' -exec sh -c 'rm -r "$${1%/*}"' sh {} \;; \
		find data/ -type d -empty -delete; fi
	rm -rf .venv .venv-bench
