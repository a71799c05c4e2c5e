"""Films unlike those of the training are marked, and left out where that is asked."""

import csv
import dataclasses
import shutil

import numpy as np
import pytest

from data_prep.core import durable
from data_prep.core.errors import CommandError
from data_prep.core.errors import ConfigError
from data_prep.core.errors import ExitCode
from inference.ensemble import guard
from inference.prediction import chunk_results
from inference.prediction import predict
from inference.prediction import submission
from inference.prediction import unlike_csv
from inference.prediction.joining import SUBMISSION
from inference.prediction.prediction_folder import MARKER
from tests.inference.finished_runs import POOLED
from tests.inference.finished_runs import member
from tests.inference.prediction.test_predict import config
from tests.inference.report.test_film_index import listed
from trainer.guard import features


@pytest.fixture(scope="module")
def run(dataset, tmp_path_factory):
    """A run with a description, whose network has features."""
    folder = tmp_path_factory.mktemp("guarded") / "run"
    member(folder, dataset / "32", 1, model=POOLED, described=True)
    return folder


@pytest.fixture
def odd(monkeypatch):
    """Lets the guard see the first film of each batch inverted: one in each shard."""
    compare = guard.Guard.compare

    def inverted(self, images, tapped=None):
        images = {k: np.array(v) for k, v in images.items()}
        for pixels in images.values():
            pixels[:1] = 255 - pixels[:1]
        return compare(self, images, tapped)

    monkeypatch.setattr(guard.Guard, "compare", inverted)


def asked(dataset, run, output, **changes):
    return config(dataset, [run], output, **({"batch_size": 7} | changes))


def marked(output):
    with (output / unlike_csv.FILE_NAME).open() as file:
        return list(csv.DictReader(file))


def test_marked_films_are_listed(dataset, run, tmp_path, odd, caplog):
    plain = asked(dataset, run, tmp_path / "plain", guard_quantile=0.0)
    assert predict.predict(plain) is ExitCode.DONE
    assert not (plain.output / unlike_csv.FILE_NAME).exists()
    warned = asked(dataset, run, tmp_path / "warned")
    assert predict.predict(warned) is ExitCode.DONE
    # The guard changes no mask.
    texts = [(c.output / SUBMISSION).read_bytes() for c in (plain, warned)]
    assert texts[0] == texts[1]
    rows = marked(warned.output)
    ids = list(submission.read(warned.output / SUBMISSION))
    assert rows[0]["ImageId"] == ids[0]
    assert len({row["ImageId"] for row in rows} & set(ids)) == len(rows) == 2
    assert all(float(row["Score"]) > 1 for row in rows)
    assert {row["Features"] for row in rows} <= {*features.SIZES, "encoder"}
    assert {row["Outcome"] for row in rows} == {"marked"}
    assert "guard: 2 films are unlike those" in caplog.text
    assert ids[0] in caplog.text
    sealed = durable.read_json(warned.output / MARKER, fix="")
    assert unlike_csv.FILE_NAME in sealed["files"]
    # Said again of a finished prediction.
    caplog.clear()
    assert predict.predict(warned) is ExitCode.DONE
    assert "guard: 2 films" in caplog.text
    with pytest.raises(CommandError) as e:
        predict.predict(dataclasses.replace(warned, guard_quantile=0.99))
    assert e.value.exit_code is ExitCode.CONFLICT


def test_quarantined_films_have_no_row(dataset, run, tmp_path, odd):
    """A film without a mask is no healthy film."""
    outputs = {"outputs": ("csv", "probabilities", "report")}
    left_out = asked(dataset, run, tmp_path / "out", on_unlike="quarantine", **outputs)
    for _ in range(2):
        assert predict.predict(left_out) is ExitCode.QUARANTINED
    ids = set(submission.read(left_out.output / SUBMISSION))
    gone = {row["ImageId"] for row in marked(left_out.output)}
    assert (len(ids), len(gone)) == (5, 2)
    assert not ids & gone
    assert {row["Outcome"] for row in marked(left_out.output)} == {"left out"}
    # Their maps are kept, and the page goes on with those of the others.
    films = listed(left_out.output / "films" / "films.js")
    assert {film["id"] for film in films if film["heat"]} == ids
    page = (left_out.output / "report.html").read_text()
    assert "5 images: a mask on" in page
    assert "2 more left out" in page


def test_nothing_is_drawn_where_all_are_left_out(
    dataset, run, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(unlike_csv, "is_marked", lambda score: True)
    outputs = {"outputs": ("csv", "overlays", "report")}
    none_left = asked(dataset, run, tmp_path / "out", on_unlike="quarantine", **outputs)
    assert predict.predict(none_left) is ExitCode.QUARANTINED
    assert "all 7 films are left out" in caplog.text
    assert len(marked(none_left.output)) == 7
    assert not (none_left.output / "report.html").exists()


def test_films_of_the_same_kind_are_not_marked(dataset, run, tmp_path):
    asked_for = asked(dataset, run, tmp_path / "out")
    predict.predict(asked_for)
    assert marked(asked_for.output) == []


def test_scores_do_not_depend_on_the_batch(dataset, run, tmp_path, monkeypatch):
    seen = []
    original = chunk_results.ResultMaker.__call__

    def kept(self, images, prediction, fold):
        seen.append(prediction.guard)
        return original(self, images, prediction, fold)

    monkeypatch.setattr(chunk_results.ResultMaker, "__call__", kept)
    for size in (7, 3):
        predict.predict(asked(dataset, run, tmp_path / str(size), batch_size=size))
    half = len(seen) // 2
    one, two = (np.concatenate(s) for s in (seen[:half], seen[half:]))
    np.testing.assert_allclose(np.sort(one), np.sort(two), atol=2e-3)


def test_runs_of_earlier_versions_compare_nothing(dataset, tmp_path, caplog):
    member(tmp_path / "run", dataset / "32", 1)
    earlier = asked(dataset, tmp_path / "run", tmp_path / "out")
    with caplog.at_level("INFO"):
        assert predict.predict(earlier) is ExitCode.DONE
    assert caplog.text.count("guard: no description in") == 1
    assert not (earlier.output / unlike_csv.FILE_NAME).exists()
    # As what an earlier version has recorded of it.
    request = durable.read_json(earlier.output / "request.json", fix="")
    assert "guard" not in request
    strict = asked(dataset, tmp_path / "run", tmp_path / "b", on_unlike="quarantine")
    with pytest.raises(CommandError, match="no run has a description"):
        predict.predict(strict)


def test_a_changed_description_is_refused(dataset, run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    path = tmp_path / "run" / "guard.npz"
    path.write_bytes(path.read_bytes() + b"\0")
    changed = asked(dataset, tmp_path / "run", tmp_path / "out")
    with pytest.raises(CommandError, match="guard.npz") as e:
        predict.predict(changed)
    assert e.value.exit_code is ExitCode.CORRUPT


def test_a_finished_prediction_is_of_its_guard(dataset, run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    finished = asked(dataset, tmp_path / "run", tmp_path / "out")
    predict.predict(finished)
    with pytest.raises(CommandError) as e:
        predict.predict(dataclasses.replace(finished, on_unlike="quarantine"))
    assert e.value.exit_code is ExitCode.CONFLICT
    path = tmp_path / "run" / "guard.npz"
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(CommandError, match="guard.npz") as e:
        predict.predict(finished)
    assert e.value.exit_code is ExitCode.CORRUPT


@pytest.mark.slow
def test_reconstruction_of_another_run(dataset, run, tmp_path, odd):
    vae = tmp_path / "vae"
    model = "vae_cnn(start_filters=8, latent_size=4)"
    member(vae, dataset / "32", 3, model=model, described=True)
    predict.predict(asked(dataset, run, tmp_path / "out", guard=vae))
    request = durable.read_json(tmp_path / "out" / "request.json", fix="")
    assert len(request["guard"]["reconstructing"]) == 1
    with pytest.raises(CommandError, match="how well it reconstructs"):
        predict.predict(asked(dataset, run, tmp_path / "b", guard=run))


def test_config_refuses_what_compares_nothing(dataset, run, tmp_path):
    with pytest.raises(ConfigError, match="guard_quantile above 0"):
        asked(dataset, run, tmp_path, on_unlike="quarantine", guard_quantile=0.0)
    with pytest.raises(ConfigError, match="split=test"):
        asked(dataset, run, tmp_path, guard=run, split="out_of_fold")
    with pytest.raises(ConfigError, match="guard_quantile"):
        asked(dataset, run, tmp_path, guard_quantile=1.0)
