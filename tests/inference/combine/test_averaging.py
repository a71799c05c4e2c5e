import itertools

import pytest

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from inference.combine import averaging
from inference.config import AverageConfig
from inference.prediction import probability_csv


def config(tmp_path, *csvs, output="mean.csv"):
    paths = []
    for k, rows in enumerate(csvs):
        paths.append(tmp_path / f"{k}.csv")
        text = "".join(f"{row}\n" for row in rows)
        paths[-1].write_text("ImageId,Probability\n" + text)
    return AverageConfig(probability_csvs=tuple(paths), output=tmp_path / output)


def test_by_hand(tmp_path):
    job = config(tmp_path, ["a,0", "b,0.25"], ["b,0.75", "a,1"], ["a,0.5", "b,0.5"])
    assert averaging.average(job) == {"csvs": 3, "images": 2, "mean": 0.5}
    assert job.output.read_text() == "ImageId,Probability\na,0.5\nb,0.5\n"
    averaging.average(job)
    other = config(tmp_path, ["a,0", "b,0"], ["a,1", "b,0"])
    with pytest.raises(CommandError, match="mean.csv holds other probabilities") as e:
        averaging.average(other)
    assert e.value.exit_code == ExitCode.CONFLICT


def test_order_of_csvs_does_not_matter(tmp_path):
    csvs = (["a,0.1"], ["a,0.2"], ["a,0.7"], ["a,1e-17"])
    texts = set()
    for k, ordered in enumerate(itertools.permutations(csvs)):
        job = config(tmp_path, *ordered, output=f"mean{k}.csv")
        averaging.average(job)
        texts.add(job.output.read_text())
    assert len(texts) == 1


def test_different_images_are_named(tmp_path):
    with pytest.raises(CommandError, match=r"1.csv lacks b of .*0.csv"):
        averaging.average(config(tmp_path, ["a,0", "b,1"], ["a,0"]))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["a,nan"], "'nan' for a, which is no probability"),
        (["a,inf"], "'inf' for a"),
        (["a,"], "'' for a"),
        (["a,high"], "'high' for a"),
        (["a,-0.1"], "'-0.1' for a"),
        (["a,1.0001"], "'1.0001' for a"),
        (["a,0.1", "a,0.1"], "'a' a second time"),
        (["a,0.1,0.2"], "3 columns instead of 2"),
        (["=a,0.1"], "has '=a' where an image id should be"),
        ([], "has no row"),
    ],
)
def test_refuses_values_that_are_no_probabilities(tmp_path, rows, message):
    with pytest.raises(CommandError, match=message):
        averaging.average(config(tmp_path, ["a,0.5"], rows))
    assert not (tmp_path / "mean.csv").exists()


def test_reads_what_it_wrote(tmp_path):
    values = {"a": 1 / 3, "b": 0.0, "c": 1.0, "d": 1e-300}
    path = tmp_path / "p.csv"
    probability_csv.write(path, values.items())
    assert probability_csv.read(path) == values
    for wrong in ({"a": float("nan")}, {"a": 1.5}, {"a b": 0.5}):
        with pytest.raises(ValueError, match="Expected an image id and 0 <= value"):
            probability_csv.write(path, wrong.items())
    assert probability_csv.read(path) == values
