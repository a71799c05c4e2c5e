"""Install commands fit a checkout, a wheel, and the user's own TensorFlow."""

import pathlib

import pytest

from data_prep.core import installing

ROOT = pathlib.Path(__file__).parents[3]


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Returns a function that fakes the installed TensorFlow and the checkout."""

    def make(tensorflow, *, checkout, name="tensorflow"):
        have = {name: tensorflow}
        monkeypatch.setattr(installing, "version", lambda n: have.get(n, ""))
        monkeypatch.setattr(installing, "_ROOT", ROOT if checkout else tmp_path)
        monkeypatch.chdir(ROOT)

    return make


@pytest.mark.parametrize("version", ["", "2.21.0"])
def test_a_checkout_has_its_pins(machine, version, monkeypatch, tmp_path):
    machine(version, checkout=True)
    pinned = "-r requirements.txt -c constraints.txt"
    assert installing.everything() == f"pip install {pinned}"
    assert installing.missing("numpy", ">=2") == f"pip install {pinned}"
    again = installing.everything(again=True)
    assert again == f"pip install --force-reinstall {pinned}"
    gpu = "pip install -r requirements-gpu.txt -c constraints.txt"
    assert installing.gpu() == gpu
    assert "constraints-tensorflow-io.txt" in installing.tensorflow_io()
    monkeypatch.chdir(tmp_path)
    assert f"-r {ROOT}/requirements.txt -c {ROOT}/" in installing.everything()


@pytest.mark.parametrize("checkout", [True, False])
@pytest.mark.parametrize("name", ["tensorflow", "tensorflow-cpu"])
def test_a_tensorflow_of_the_users_own_stays(machine, checkout, name):
    machine("2.18.0", checkout=checkout, name=name)
    assert "requirements" not in installing.everything()
    again = installing.everything(again=True)
    assert again == f"pip install --force-reinstall --no-deps {name}==2.18.0"
    assert installing.gpu() == "pip install 'tensorflow[and-cuda]==2.18.0'"
    assert installing.missing("numpy", ">=2,<3") == "pip install 'numpy>=2,<3'"


def test_a_wheel_has_no_files(machine, tmp_path):
    machine("", checkout=False)
    # Another package may install such a file.
    (tmp_path / "requirements.txt").write_text("other\n")
    assert "requirements" not in installing.everything() + installing.everything(
        again=True
    )
    assert installing.gpu() == "pip install 'tensorflow[and-cuda]==2.21.*'"
    assert installing.gpu("2.19.1") == "pip install 'tensorflow[and-cuda]==2.19.1'"
    assert "tensorflow-io==0.37.1 'numpy<2'" in installing.tensorflow_io()
    assert installing.package("openvino") == "pip install openvino"


def test_the_versions_are_those_of_the_files():
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    pin = f"tensorflow=={installing.PINNED_TENSORFLOW}"
    assert any(line.startswith(pin) for line in lines)
    lines = (ROOT / "requirements-tensorflow-io.txt").read_text().splitlines()
    assert {"tensorflow==2.16.2", "tensorflow-io==0.37.1"} <= set(lines)
