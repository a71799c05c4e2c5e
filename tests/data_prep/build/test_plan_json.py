"""What is stored of a plan reads back as it was, whatever the names of files are."""

import dataclasses
import json
import pathlib

from hypothesis import given
from hypothesis import strategies as st

from data_prep.build import plan_json
from data_prep.build.image_records import Task
from data_prep.core.errors import InputError
from data_prep.source.probe import HeaderFacts
from data_prep.source.probe import Probe
from data_prep.source.source_file import SourceFile

# Lone surrogates stand for bytes of names that are not UTF-8.
TEXT = st.text(st.characters(exclude_characters="\0"), max_size=12)
PATHS = st.lists(TEXT, min_size=1, max_size=3).map(lambda p: pathlib.Path("/", *p))
FILES = st.builds(
    SourceFile,
    path=PATHS,
    member=TEXT,
    gzipped=st.booleans(),
    kind=st.sampled_from(["dicom", "png", "jpeg"]),
)
ROWS = st.none() | st.lists(TEXT, max_size=3).map(tuple)
TASKS = st.builds(
    Task,
    image_id=TEXT,
    file=FILES,
    rows=ROWS,
    mask_file=st.none() | FILES,
    label=st.sampled_from([-1, 0, 1]),
    fold=st.integers(-1, 9),
    group=TEXT,
    expected_sha256=st.none() | TEXT,
    num_pixels=st.integers(0, 1 << 40),
)
PROBES = st.builds(
    Probe,
    file=FILES,
    mask_file=st.none() | FILES,
    modalities=st.lists(TEXT, max_size=2).map(tuple),
    refuse_burned_in=st.booleans(),
    rows=ROWS,
)
FACTS = st.builds(
    HeaderFacts,
    patient_id=TEXT,
    pixels_digest=TEXT,
    is_film=st.booleans(),
    burned_in=st.booleans(),
    positive=st.none() | st.booleans(),
    num_pixels=st.integers(0, 1 << 40),
    mask_sha256=TEXT,
)


def through_json(stored):
    return json.loads(json.dumps(stored).encode())


@given(TASKS)
def test_tasks(task):
    read = plan_json.to_task(through_json(plan_json.of_task(task)))
    assert read == task
    # By which a plan is recognised.
    assert repr(read) == repr(task)


@given(PROBES)
def test_probes(probe):
    assert plan_json.to_probe(through_json(plan_json.of_probe(probe))) == probe


@given(FACTS)
def test_facts(facts):
    stored = plan_json.of_result(facts, plan_json.of_facts)
    assert plan_json.to_result(through_json(stored), plan_json.to_facts) == facts


def test_no_field_is_forgotten():
    """Every field of what is stored was thought of, and of how it is stored."""
    counts = {
        cls: len(dataclasses.fields(cls))
        for cls in (SourceFile, Task, Probe, HeaderFacts)
    }
    assert counts == {SourceFile: 4, Task: 9, Probe: 5, HeaderFacts: 7}


def test_why_an_input_is_bad():
    error = InputError("CODE", "a reason", fix="a fix")
    stored = through_json(plan_json.of_result(error, plan_json.of_facts))
    read = plan_json.to_result(stored, plan_json.to_facts)
    assert isinstance(read, InputError)
    assert (read.code, read.reason, read.fix) == ("CODE", "a reason", "a fix")
