"""The lines on decoders and extras."""

from data_prep.pixels import dicom_frames
from tests.trainer.machine.made_up import only
from trainer.machine import optional
from trainer.machine.finding import Status


def test_decoders():
    lacking = dicom_frames.decoders()
    assert "JPEG Baseline (Process 1)" in lacking
    assert not any(lacking[name] for name in lacking if "JPEG-LS" not in name)
    complete = dict.fromkeys(lacking, "")
    assert only(optional.check_decoders(complete)).status is Status.OK
    no_ls = complete | {name: "pyjpegls" for name in lacking if "JPEG-LS" in name}
    found = only(optional.check_decoders(no_ls))
    assert found.status is Status.WARNING
    assert "11 of 13" in found.text
    assert found.fix == "pip install pyjpegls"
    no_codec = no_ls | {n: "imagecodecs" for n in lacking if "Lossless, Non-" in n}
    found = only(optional.check_decoders(no_codec))
    assert found.status is Status.WARNING
    assert "9 of 13" in found.text
    assert "more than 8 bits, which imagecodecs decodes and JPEG-LS" in found.text
    assert found.fix == "pip install imagecodecs pyjpegls"
    no_jpeg = complete | {"JPEG Baseline (Process 1)": "pillow"}
    found = only(optional.check_decoders(no_jpeg))
    assert found.status is Status.FAULT
    assert "JPEG Baseline" in found.text


def test_extras_say_what_they_add():
    versions = dict.fromkeys(optional.distributions(), "") | {"openvino": "2026.4.1"}
    found = {f.name: f for f in optional.check_extras(versions)}
    assert found["extra openvino"].text.startswith("openvino 2026.4.1: faster")
    assert found["extra gpu"].text.startswith("not installed: CUDA")
    assert "requirements-onnx.txt" in found["extra onnx"].fix
    assert "requirements-gpu.txt" in found["extra gpu"].fix
    assert "TensorFlow 2.16" in found["tensorflow-io"].text
