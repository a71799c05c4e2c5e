# make demo   synthetic DICOMs -> records -> two members -> submission -> score
# make test   lint and tests
# make bench  every benchmark against its peers; BENCH_FLAGS=--quick for a short run

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO ?= build/demo
# The benchmarks' peers live in an environment of their own.
BENCH := build/bench-venv
BENCH_FLAGS ?=
# The demo's size; `.ci/run` makes it smaller.
NUM_TRAIN ?= 240
NUM_TEST ?= 60
DEMO_FLAGS ?=
PRESET := flags/presets/demo.flagfile

.PHONY: demo test lint bench clean

demo: $(VENV)/installed
	$(BIN)/python -m data_prep.synthetic --output=$(DEMO)/source \
	    --num_train=$(NUM_TRAIN) --num_test=$(NUM_TEST)
	$(BIN)/python -m data_prep.main --source=$(DEMO)/source/dicom-images-train \
	    --rle_csv=$(DEMO)/source/train-rle.csv \
	    --test_source=$(DEMO)/source/dicom-images-test \
	    --output=$(DEMO)/data --sizes=128,256 --allow_quarantined=2
	$(BIN)/python -m trainer.preview --data=$(DEMO)/data/256 \
	    --augment=seed_segmentation --output=$(DEMO)/preview.png
	$(BIN)/python -m trainer.main --flagfile=$(PRESET) --data=$(DEMO)/data/128 \
	    --fold=0 --workdir=$(DEMO)/runs/fold0-seed0 $(DEMO_FLAGS)
	$(BIN)/python -m trainer.crossval --flagfile=$(PRESET) \
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
	$(BIN)/python -m pytest --numprocesses=auto --dist=loadfile

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

bench: $(BENCH)/installed
	$(BENCH)/bin/python -m tests.benchmarks.suite --output=build/benchmarks $(BENCH_FLAGS)

$(BENCH)/installed: requirements.txt constraints.txt $(VENV)/python \
    tests/benchmarks/requirements-bench.txt tests/benchmarks/bench-constraints.txt
	$(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/pip install --quiet -r requirements.txt -c constraints.txt
	$(BENCH)/bin/python -m tests.benchmarks.peers
	touch $@

$(VENV)/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	    || { echo "Python 3.11 to 3.13 is needed: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/installed: requirements.txt constraints.txt $(VENV)/python
	$(BIN)/pip install --quiet -r requirements.txt -c constraints.txt
	touch $@

$(VENV)/installed-dev: requirements-dev.txt requirements-codecs.txt requirements-openvino.txt $(VENV)/installed
	$(BIN)/pip install --quiet -r requirements-dev.txt -c constraints.txt
	touch $@

clean:
	rm -rf build
