"""A temperature in the file of thresholds is read as it was written, or refused."""

import pytest

from data_prep.core import durable
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from inference.prediction import thresholds
from inference.prediction.thresholds import Thresholds


@pytest.mark.parametrize(
    ("temperature", "of"), [(None, None), (1.7, "classifier"), (0.25, "map")]
)
def test_a_temperature_reads_as_written(tmp_path, temperature, of):
    path = tmp_path / "thresholds.json"
    tuned = Thresholds(
        postprocess="seed",
        provenance={},
        temperature=temperature,
        temperature_of=of,
    )
    thresholds.write(path, tuned, score=0.5, nested_score=None, images=3)
    assert thresholds.read(path) == tuned


def test_files_of_earlier_versions_have_none(tmp_path):
    path = tmp_path / "thresholds.json"
    durable.write_json(path, {"postprocess": "seed", "made_from": {}})
    assert thresholds.read(path).temperature is None
    assert thresholds.read(path).temperature_of is None


@pytest.mark.parametrize(
    ("bad", "of"),
    [
        (0, "map"),
        (-1.5, "map"),
        (True, "map"),
        ("1.5", "map"),
        ([1.5], "map"),
        (1.5, None),
        (1.5, "both"),
        (1.5, ["map"]),
    ],
)
def test_a_bad_temperature_is_refused(tmp_path, bad, of):
    path = tmp_path / "thresholds.json"
    stored = {"postprocess": "seed", "made_from": {}}
    durable.write_json(path, stored | {"temperature": bad, "temperature_of": of})
    with pytest.raises(CommandError, match=r"thresholds\.json: Expected .*temper") as e:
        thresholds.read(path)
    assert e.value.exit_code == ExitCode.CORRUPT


@pytest.mark.parametrize("bad", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_what_json_does_not_have_is_refused(tmp_path, bad):
    path = tmp_path / "thresholds.json"
    stored = {"postprocess": "seed", "made_from": {}}
    durable.write_json(path, stored | {"temperature": 1.5, "temperature_of": "map"})
    path.write_text(path.read_text().replace("1.5", bad))
    with pytest.raises(CommandError, match=r"thresholds\.json is not JSON") as e:
        thresholds.read(path)
    assert e.value.exit_code == ExitCode.CORRUPT
