"""The program beside a model needs TensorFlow and numpy alone."""

import csv
import os
import runpy
import subprocess
import sys

import cv2
import pytest

from inference.artefact import saved_model

_PROGRAM = """
import runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    ours = {"data_prep", "trainer", "inference", "flags", "tests"}
    print(sorted(ours & {name.partition(".")[0] for name in sys.modules}))
"""


@pytest.mark.slow
def test_tensorflow_alone_serves_it(exported, films, tmp_path):
    names = ["film001.png", "film003.jpg"]
    (tmp_path / "=film.png").write_bytes(b"no film")
    done = subprocess.run(
        # Isolated: neither this folder nor PYTHONPATH nor a user's packages.
        [
            *(sys.executable, "-I", "-c", _PROGRAM, exported.folder / "predict.py"),
            *(films / name for name in names),
            *("=film.png", "none.png", "--csv=out.csv", "--masks=masks"),
        ],
        cwd=tmp_path,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 3, done.stderr
    assert done.stdout.splitlines() == [
        "out.csv: 4 files, 2 of them not readable",
        "[]",
    ]
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [r["name"] for r in rows[2:]] == ["'=film.png", "none.png"]
    assert [r["error"] for r in rows] == [
        "",
        "",
        "not a PNG or JPEG file",
        "No such file or directory",
    ]
    assert [r["area"] == "" for r in rows] == [False, False, True, True]
    found = exported.serve((films / name).read_bytes() for name in names)
    for k, name in enumerate(names):
        mask = cv2.imread(
            str(tmp_path / f"masks/{k:05d}-{name[:7]}.png"), cv2.IMREAD_UNCHANGED
        )
        height, width = found["height"][k], found["width"][k]
        assert (mask == 255 * found["mask"][k, :height, :width]).all()
        assert int(rows[k]["area"]) == found["mask"][k].sum()
        assert float(rows[k]["probability"]) == pytest.approx(
            found["probability"][k], abs=1e-5
        )
    assert sorted(p.name for p in (tmp_path / "masks").iterdir()) == [
        "00000-film001.png",
        "00001-film003.png",
    ]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t"])
def test_no_name_is_a_formula(start, tmp_path):
    (tmp_path / "predict.py").write_text(saved_model.client())
    safe = runpy.run_path(str(tmp_path / "predict.py"))["safe"]
    assert safe(f"{start}1+1") == f"'{start}1+1"
    assert safe("a=1.png") == "a=1.png"
