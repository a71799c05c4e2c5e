"""What can be read here, and what each optional package would add."""

from trainer.machine import packages
from trainer.machine.finding import Finding
from trainer.machine.finding import fault
from trainer.machine.finding import ok
from trainer.machine.finding import warning

# Without the constraints, which would replace numpy beside an older TensorFlow.
_CODECS = "pip install -r requirements-codecs.txt"
# Name of the line, the distribution that tells whether it is there, what it adds.
_EXTRAS = (
    (
        "extra gpu",
        "nvidia-cudnn-cu12",
        "CUDA and cuDNN for NVIDIA GPUs",
        "pip install -r requirements-gpu.txt -c constraints.txt",
    ),
    ("extra codecs", "pyjpegls", "JPEG-LS in DICOM", _CODECS),
    (
        "extra openvino",
        "openvino",
        "faster prediction on CPUs (--engine=openvino)",
        "pip install -r requirements-openvino.txt",
    ),
    (
        "tensorflow-io",
        "tensorflow-io",
        "--dicom_decoder=tfio; needs TensorFlow 2.16, so an environment of its own",
        "requirements-tensorflow-io.txt says how",
    ),
)


def check_decoders(lacking: dict[str, str]) -> list[Finding]:
    """Returns which kinds of DICOM can be decoded.

    Args:
      lacking: as `data_prep.dicom_pixels.decoders()` returns it.
    """
    gone = {syntax: plugin for syntax, plugin in lacking.items() if plugin}
    if not gone:
        return [ok("DICOM", f"all {len(lacking)} transfer syntaxes can be decoded")]
    text = f"{len(lacking) - len(gone)} of {len(lacking)} transfer syntaxes; not "
    if set(gone.values()) == {"pyjpegls"}:
        return [warning("DICOM", f"{text}JPEG-LS, which pyjpegls decodes", _CODECS)]
    return [fault("DICOM", f"{text}{', '.join(gone)}", packages.INSTALL)]


def check_extras(versions: dict[str, str]) -> list[Finding]:
    """Returns a line for each optional package.

    Args:
      versions: of the distributions in `distributions()`; "" where not installed.
    """
    findings = []
    for name, distribution, adds, install in _EXTRAS:
        if version := versions[distribution]:
            findings.append(ok(name, f"{distribution} {version}: {adds}"))
        else:
            findings.append(ok(name, f"not installed: {adds}", install))
    return findings


def distributions() -> tuple[str, ...]:
    """Returns the distributions that tell which extras are installed."""
    return tuple(distribution for _, distribution, _, _ in _EXTRAS)
