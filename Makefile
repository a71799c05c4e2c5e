# make demo   synthetic DICOMs -> records -> two members -> submission -> score
# make test   lint and tests
# make check  lint and the tests that are not marked slow, in four minutes
# make bench  every benchmark against its peers; BENCH_FLAGS=--quick for a short run
# make docs-check  runs the commands of README.md and docs/ on synthetic films
# make soak   hours of kills, full disks, flipped bits and damaged inputs; a table
# make GPU=1 gpu-check  what a machine with a GPU runs once, in six minutes; a table
# make audit  known vulnerabilities of the pinned packages; `python -m tests.audit` of its
#             environment ends with 0 for none, 1 for some, 3 where PyPI was not to be asked
# make test-tensorflow-io  in its environment, the tests that depend on the stack
# make test-other-python OTHER_PYTHON=python3.13  the same and more on another Python
# GPU=1 with demo, test or bench installs NVIDIA's libraries, too: make GPU=1 demo

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
GPU ?=
WITH_GPU := $(filter-out 0,$(GPU))
REQUIREMENTS := $(if $(WITH_GPU),requirements-gpu.txt,requirements.txt)
INSTALLED := $(VENV)/installed$(if $(WITH_GPU),-gpu)
# Ends with one line where a Python is not of these minor versions of 3, or not there.
check_python = @$(1) -c 'import sys, ensurepip; v = sys.version_info[:2]; \
    sys.exit(not (3, $(2)) <= v <= (3, $(3)))' 2> /dev/null \
    || { echo "Python 3.$(2) to 3.$(3) with venv is needed, and $(1) is not: $(4)"; exit 1; }
# A connection that breaks in the middle of a download is tried again; pip's own retries
# cover only its start.
pip_install = for wait in 10 30 0; do \
    $(1)/bin/pip install --quiet $(2) && break; \
    [ $$wait = 0 ] && exit 1; \
    echo "pip has failed; it is tried again in $$wait s"; sleep $$wait; done
DEMO ?= build/demo
# tensorflow-io loads with TensorFlow 2.16 alone, which has no build for Python 3.13.
TFIO := build/tensorflow-io-venv
TFIO_PYTHON ?= $(PYTHON)
# Decoding, conversion and its bytes, golden losses, run folders, one network's contract.
TFIO_TESTS := tests/data_prep/pixels/test_dicom_tfio.py tests/data_prep/build/test_golden_shards.py \
    tests/data_prep/build/test_convert.py tests/data_prep/build/test_convert_options.py \
    tests/data_prep/build/test_privacy.py tests/trainer/test_golden.py \
    tests/trainer/run/test_checkpoints.py tests/trainer/models/fused/test_swish.py \
    tests/trainer/models/test_contract.py tests/inference/evaluation/test_detection.py
# Beside those: the package itself, and what depends on the Python, as AutoGraph does.
OTHER_PYTHON ?= python3.13
OTHER := build/python$(shell $(OTHER_PYTHON) -c 'import sys; print(sys.version_info[1])' \
    2> /dev/null)-venv
OTHER_TESTS := $(filter-out %/test_dicom_tfio.py,$(TFIO_TESTS)) tests/test_package.py \
    tests/trainer/test_step.py tests/trainer/test_keras_settings.py \
    tests/inference/ensemble/test_openvino_engine.py tests/inference/prediction/test_predict.py
DEV_FILES := $(addprefix requirements-,dev.txt codecs.txt dicom-seg.txt onnx.txt openvino.txt \
    ray.txt cloud.txt)
# The benchmarks' peers live in an environment of their own.
BENCH := build/bench-venv
BENCH_FLAGS ?=
AUDIT := build/audit-venv
# As --hours=2 --parts=kills,faults; see python -m tests.soak --help.
SOAK_FLAGS ?=
# The demo's size; `.ci/run` makes it smaller.
NUM_TRAIN ?= 240
NUM_TEST ?= 60
DEMO_FLAGS ?=
PRESET := demo

# A worker that dies is told at once: with others in its place a run may wait for ever.
# A worker more than there are cores, for tests wait for processes of their own. `auto`
# counts hyper-threads once where psutil is installed.
PARALLEL := --numprocesses=$(shell expr $$(nproc) + 1) --dist=loadfile --no-loadscope-reorder \
    --max-worker-restart=0

.PHONY: demo test check docs-check soak audit gpu-check test-tensorflow-io \
    test-other-python lint bench clean

demo: $(INSTALLED)
	$(BIN)/python -m data_prep.synthetic --output=$(DEMO)/source \
	    --num_train=$(NUM_TRAIN) --num_test=$(NUM_TEST)
	$(BIN)/python -m data_prep.main --source=$(DEMO)/source/dicom-images-train \
	    --rle_csv=$(DEMO)/source/train-rle.csv \
	    --test_source=$(DEMO)/source/dicom-images-test \
	    --output=$(DEMO)/data --sizes=128,256 --allow_quarantined=2
	$(BIN)/python -m trainer.preview --data=$(DEMO)/data/256 \
	    --augment=seed_segmentation --output=$(DEMO)/preview.png
	$(BIN)/python -m trainer.main --preset=$(PRESET) --data=$(DEMO)/data/128 \
	    --fold=0 --workdir=$(DEMO)/runs/fold0-seed0 $(DEMO_FLAGS)
	$(BIN)/python -m trainer.crossval --preset=$(PRESET) \
	    --data=$(DEMO)/data/128 --folds=0,1 --output=$(DEMO)/runs $(DEMO_FLAGS)
	$(BIN)/python -m inference.main --data=$(DEMO)/data/128 --split=out_of_fold \
	    --members=$(DEMO)/runs/fold0-seed0,$(DEMO)/runs/fold1-seed0 \
	    --output=$(DEMO)/out_of_fold
	$(BIN)/python -m inference.tune --predictions=$(DEMO)/out_of_fold \
	    --truth=$(DEMO)/source/train-rle.csv --output=$(DEMO)/tuning
	$(BIN)/python -m inference.main --data=$(DEMO)/data/128 \
	    --members=$(DEMO)/runs/fold0-seed0,$(DEMO)/runs/fold1-seed0 --tta=hflip \
	    --postprocess='threshold(0.5)|min_area(2048)' --output=$(DEMO)/prediction \
	    --outputs=csv,overlays,report
	$(BIN)/python -m inference.evaluate --data=$(DEMO)/data/128 \
	    --submission=$(DEMO)/prediction/submission.csv \
	    --truth=$(DEMO)/source/test-rle.csv --output=$(DEMO)/evaluation
	$(BIN)/python -m data_prep.verify --data=$(DEMO)/data
	$(BIN)/python -m data_prep.inspect --data=$(DEMO)/data/256 --output=$(DEMO)/report
	@echo "Look at $(DEMO)/evaluation/report.html, $(DEMO)/report/index.html"

test: lint
	$(BIN)/python -m pytest $(PARALLEL)

check: lint
	$(BIN)/python -m pytest $(PARALLEL) -m "not slow"

audit: $(AUDIT)/installed
	$(AUDIT)/bin/python -m tests.audit

$(AUDIT)/installed: tests/audit/requirements-audit.txt
	$(PYTHON) -m venv --clear $(AUDIT)
	$(call pip_install,$(AUDIT),-r tests/audit/requirements-audit.txt)
	touch $@

docs-check: $(VENV)/installed-dev
	$(BIN)/python -m tests.docs --output=build/docs

soak: $(VENV)/installed-dev
	$(BIN)/python -m tests.soak --output=build/soak $(SOAK_FLAGS)

gpu-check: $(INSTALLED)
	$(BIN)/python -m tests.gpu --json=build/gpu-check.json

test-tensorflow-io: $(TFIO)/installed
	REQUIRE_TENSORFLOW_IO=1 $(TFIO)/bin/python -m pytest $(PARALLEL) $(TFIO_TESTS) \
	    -k "not test_contract or uefficientnetpp"

test-other-python: $(OTHER)/installed
	$(OTHER)/bin/python -m pytest $(PARALLEL) $(OTHER_TESTS) \
	    -k "not test_contract or uefficientnetpp"

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

bench: $(BENCH)/installed
	@$(MAKE) $(TFIO)/installed || echo 'tensorflow-io is left out.'
	$(BENCH)/bin/python -m tests.benchmarks.harness.suite --output=build/benchmarks $(BENCH_FLAGS)

$(BENCH)/installed: requirements.txt constraints.txt $(VENV)/python \
    tests/benchmarks/requirements-bench.txt tests/benchmarks/bench-constraints.txt
	$(PYTHON) -m venv $(BENCH)
	$(call pip_install,$(BENCH),-r $(REQUIREMENTS) -c constraints.txt)
	$(BENCH)/bin/python -m tests.benchmarks.harness.peers
	touch $@

$(VENV)/python:
	$(call check_python,$(PYTHON),11,13,make PYTHON=python3.12)
	$(PYTHON) -m venv $(VENV)
	touch $@

$(INSTALLED): $(REQUIREMENTS) requirements.txt constraints.txt $(VENV)/python
	$(call check_python,$(BIN)/python,11,13,delete $(VENV) and run make PYTHON=python3.12)
	$(call pip_install,$(VENV),-r $(REQUIREMENTS) -c constraints.txt)
	touch $@

$(TFIO)/installed: requirements-tensorflow-io.txt constraints-tensorflow-io.txt
	$(call check_python,$(TFIO_PYTHON),11,12,make test-tensorflow-io TFIO_PYTHON=python3.12)
	$(TFIO_PYTHON) -m venv --clear $(TFIO)
	$(call pip_install,$(TFIO),-r requirements-tensorflow-io.txt \
	    -c constraints-tensorflow-io.txt)
	touch $@

# The package is installed for its dependencies: as pip finds them, without our list.
$(OTHER)/installed: pyproject.toml $(DEV_FILES) constraints.txt
	$(call check_python,$(OTHER_PYTHON),11,13,make test-other-python OTHER_PYTHON=python3.13)
	$(OTHER_PYTHON) -m venv --clear $(OTHER)
	rm -rf build/lib build/bdist.*
	$(call pip_install,$(OTHER),. -r requirements-dev.txt -c constraints.txt)
	rm -rf build/lib build/bdist.*
	touch $@

$(VENV)/installed-dev: $(DEV_FILES) $(INSTALLED)
	$(call pip_install,$(VENV),-r requirements-dev.txt -c constraints.txt)
	touch $@

clean:
	rm -rf build
