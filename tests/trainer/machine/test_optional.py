"""The lines on decoders and extras."""

from data_prep.source import dicom_pixels
from tests.trainer.machine.made_up import only
from trainer.machine import optional
from trainer.machine.finding import Status


def test_decoders():
    lacking = dicom_pixels.decoders()
    assert "JPEG Baseline (Process 1)" in lacking
    assert not any(lacking[name] for name in lacking if "JPEG-LS" not in name)
    complete = dict.fromkeys(lacking, "")
    assert only(optional.check_decoders(complete)).status is Status.OK
    no_ls = complete | {name: "pyjpegls" for name in lacking if "JPEG-LS" in name}
    found = only(optional.check_decoders(no_ls))
    assert found.status is Status.WARNING
    assert "8 of 10" in found.text
    assert found.fix == "pip install pyjpegls"
    no_jpeg = complete | {"JPEG Baseline (Process 1)": "pillow"}
    found = only(optional.check_decoders(no_jpeg))
    assert found.status is Status.FAULT
    assert "JPEG Baseline" in found.text


def test_extras_say_what_they_add():
    versions = dict.fromkeys(optional.distributions(), "") | {"openvino": "2026.4.1"}
    found = {f.name: f for f in optional.check_extras(versions)}
    assert found["extra openvino"].text.startswith("openvino 2026.4.1: faster")
    assert found["extra gpu"].text.startswith("not installed: CUDA")
    assert "requirements-gpu.txt" in found["extra gpu"].fix
    assert "TensorFlow 2.16" in found["tensorflow-io"].text
