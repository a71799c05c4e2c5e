"""What export writes, confirms and refuses."""

import dataclasses
import json
import sys
import types

import pytest

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from inference.artefact import comparison
from inference.artefact import export
from inference.artefact import packed_ensemble
from inference.artefact import verify
from inference.prediction import thresholds


def test_the_folder_is_laid_out_for_tensorflow_serving(exported):
    assert {p.name for p in exported.folder.iterdir()} == {
        "1",
        "README.md",
        "artefact.json",
        "labels.txt",
        "predict.py",
    }
    assert (exported.folder / "1/saved_model.pb").exists()
    assert exported.line.startswith("largest difference over 4 synthetic films")
    assert verify.check(exported.folder)["compared"] == exported.line


def test_the_card_names_what_it_is_made_of(exported, runs):
    card = (exported.folder / "README.md").read_text()
    for run in ("seg32", "seg64", "class"):
        stored = json.loads((runs / run / "result.json").read_text())
        assert stored["weights"]["swa.weights.h5"] in card
    dataset = json.loads((runs / "class/config.json").read_text())["dataset"]
    assert dataset["source_fingerprint"] in card
    for text in (
        "not a medical device",
        exported.config.postprocess,
        "the film itself, hflip, invert",
        "| clahe | `opencv(clip_limit=2.0, tiles=8)` |",
    ):
        assert text in card
    assert str(runs) not in card
    assert "None" not in card
    assert "group_salt" not in card


def test_the_same_export_is_confirmed_and_another_refused(exported):
    before = (exported.folder / "artefact.json").stat().st_mtime_ns
    assert export.export(exported.config) == exported.line
    other = dataclasses.replace(exported.config, tta=("none",))
    with pytest.raises(CommandError, match="tta: stored .*hflip") as e:
        export.export(other)
    assert e.value.exit_code == ExitCode.CONFLICT
    assert (exported.folder / "artefact.json").stat().st_mtime_ns == before


def test_a_wrong_artefact_gets_no_name(config, tmp_path, monkeypatch):
    def write(folder, ensemble):
        (folder / "model").write_text("x")
        comparison.check(dataclasses.replace(comparison.MOST, map=0.1))

    monkeypatch.setitem(
        export.FORMATS, "savedmodel", types.SimpleNamespace(write=write)
    )
    changed = dataclasses.replace(config, output=tmp_path / "out")
    with pytest.raises(CommandError, match="the artefact is off in map by 0.1") as e:
        export.export(changed)
    assert e.value.exit_code == ExitCode.CORRUPT
    assert not list(tmp_path.iterdir())


def test_thresholds_of_random_views_are_refused(config, tmp_path):
    """A served model does not know the ids that seed the random views."""
    ensemble = packed_ensemble.load(config)
    views = [*ensemble.made_from["classifier_tta"][:-1], "random=4"]
    tuned = thresholds.Thresholds(
        postprocess="gate(0.5)|threshold(0.5)",
        provenance=ensemble.made_from | {"classifier_tta": views},
    )
    path = tmp_path / "thresholds.json"
    thresholds.write(path, tuned, score=0.8, nested_score=0.7, images=9)
    with pytest.raises(CommandError, match="tuned with other classifier_tta") as e:
        export.export(dataclasses.replace(config, thresholds=path))
    assert e.value.exit_code == ExitCode.CONFLICT


def test_what_is_no_artefact_is_not_replaced(config, tmp_path):
    (tmp_path / "film.png").write_text("x")
    with pytest.raises(CommandError, match="is no artefact; choose another") as e:
        export.export(dataclasses.replace(config, output=tmp_path))
    assert e.value.exit_code == ExitCode.CONFLICT
    assert (tmp_path / "film.png").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "package"), [("onnx", "tf2onnx"), ("openvino", "openvino")]
)
def test_grey_formats_agree_with_tensorflow(config, name, package, tmp_path):
    pytest.importorskip(package)
    wanted = dataclasses.replace(config, format=name, output=tmp_path / "out")
    line = export.export(wanted)
    assert line.startswith("model.")
    facts = verify.check(tmp_path / "out")
    assert set(facts["preprocessing"]) == {"images_32", "images_64"}
    assert "before this model sees it" in (tmp_path / "out/README.md").read_text()


def test_a_missing_package_is_one_line(config, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    wanted = dataclasses.replace(config, format="onnx", output=tmp_path / "out")
    with pytest.raises(CommandError, match="tf2onnx.* not installed; pip") as e:
        export.export(wanted)
    assert e.value.exit_code == ExitCode.ENVIRONMENT
    assert not list(tmp_path.iterdir())
