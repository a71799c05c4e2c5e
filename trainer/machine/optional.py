"""The DICOM decoders that work here, and what each optional package adds."""

from data_prep.core import installing
from trainer.machine.finding import Finding
from trainer.machine.finding import fault
from trainer.machine.finding import ok
from trainer.machine.finding import warning

# {optional package: what it decodes}
_CODECS = {
    "imagecodecs": "lossless JPEG of more than 8 bits",
    "pyjpegls": "JPEG-LS",
}
# Name of the line, the distribution that shows that it is installed, what it adds.
_EXTRAS = (
    ("extra gpu", "nvidia-cudnn-cu12", "CUDA and cuDNN for NVIDIA GPUs"),
    ("extra codecs", "pyjpegls", _CODECS["pyjpegls"] + " in DICOM"),
    ("extra openvino", "openvino", "faster prediction on CPUs (--engine=openvino)"),
    ("extra dicom-seg", "highdicom", "DICOM segmentations (--outputs=dicom_seg)"),
    ("extra onnx", "tf2onnx", "ensembles as ONNX files (--format=onnx)"),
    ("extra ray", "ray", "several machines (--cluster)"),
    ("extra cloud", "fsspec", "paths such as gs:// and s3://"),
    (
        "tensorflow-io",
        "tensorflow-io",
        "--dicom_decoder=tfio; needs TensorFlow 2.16, so an environment of its own",
    ),
)


def check_decoders(lacking: dict[str, str]) -> list[Finding]:
    """Returns which DICOM transfer syntaxes can be decoded.

    Args:
      lacking: the result of `data_prep.pixels.dicom_frames.decoders()`.
    """
    gone = {syntax: plugin for syntax, plugin in lacking.items() if plugin}
    if not gone:
        return [ok("DICOM", f"all {len(lacking)} transfer syntaxes can be decoded")]
    text = f"{len(lacking) - len(gone)} of {len(lacking)} transfer syntaxes; not "
    packages = sorted(set(gone.values()))
    if not set(packages) <= set(_CODECS):
        return [fault("DICOM", f"{text}{', '.join(gone)}", installing.everything())]
    kinds = " and ".join(f"{_CODECS[p]}, which {p} decodes" for p in packages)
    return [
        warning("DICOM", f"{text}{kinds}", f"pip install {' '.join(packages)}"),
    ]


def check_extras(versions: dict[str, str]) -> list[Finding]:
    """Returns a line for each optional package.

    Args:
      versions: of each distribution in `distributions()`; "" where not installed.
    """
    findings = []
    for name, distribution, adds in _EXTRAS:
        if version := versions[distribution]:
            findings.append(ok(name, f"{distribution} {version}: {adds}"))
        else:
            findings.append(ok(name, f"not installed: {adds}", _install(distribution)))
    return findings


def distributions() -> tuple[str, ...]:
    """Returns the distributions that show which extras are installed."""
    return tuple(distribution for _, distribution, _ in _EXTRAS)


def _install(distribution: str) -> str:
    if distribution == "nvidia-cudnn-cu12":
        return installing.gpu()
    if distribution == "highdicom":
        return installing.dicom_seg()
    if distribution == "tf2onnx":
        return installing.onnx()
    if distribution == "tensorflow-io":
        return installing.tensorflow_io()
    return installing.package(distribution)
