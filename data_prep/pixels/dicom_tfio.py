"""Decodes DICOM with tensorflow-io, for comparison; the only module that imports it.

Do not use it for untrusted files: it bundles DCMTK from 2021, and hostile bytes can
end the process or fill a cut file with zeros. Therefore data_prep/pixels/dicom.py
reads each file first, and only plain 8-bit grey files are decoded here.
"""

import contextlib
import functools
import importlib.metadata
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from data_prep.core import installing
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.core.errors import InputError
from data_prep.pixels import dicom

_FIX = "convert it with --dicom_decoder=pydicom"
# Loads the shared library, which importing the package does not.
_LOAD = """
import tensorflow_io
from tensorflow_io.python.ops import core_ops
core_ops.io_decode_dicom_image
"""
_LOAD_SECONDS = 120


def check() -> None:
    """Checks that the decoder loads, before thousands of files need it.

    The package's metadata say which TensorFlow it fits; reading them is fast. If they
    fit, the library is loaded in another process, because a library that does not
    fit may end its process.

    Raises:
      CommandError: tensorflow-io is not installed, or does not load.
    """
    if importlib.util.find_spec("tensorflow_io") is None:
        raise _unusable("is not installed")
    for name, version, fits in _tensorflows():
        if version not in fits:
            raise _unusable(f"fits {name}{fits}, and {version} is installed")
    try:
        loading = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", _LOAD],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
            timeout=_LOAD_SECONDS,
        )
    except subprocess.TimeoutExpired as e:
        raise _unusable(f"did not load within {_LOAD_SECONDS} s") from e
    if loading.returncode:
        words = loading.stderr.decode(errors="replace").split()
        raise _unusable(f"does not load ({' '.join(words)[-160:]})")


def _tensorflows() -> Iterator[tuple[str, str, SpecifierSet]]:
    """Yields (distribution, installed version, versions that tensorflow-io fits)."""
    try:
        texts = importlib.metadata.requires("tensorflow-io") or []
    except importlib.metadata.PackageNotFoundError:
        # A nightly build or one of the user's own: only loading it can show.
        return
    for text in texts:
        requirement = Requirement(text)
        # Each TensorFlow (tensorflow, tensorflow-cpu, ...) is the requirement of an
        # extra. The installed ones must fit.
        if requirement.marker and "extra" in str(requirement.marker):
            with contextlib.suppress(importlib.metadata.PackageNotFoundError):
                version = importlib.metadata.version(requirement.name)
                yield requirement.name, version, requirement.specifier


def _unusable(what: str) -> CommandError:
    return CommandError(
        ExitCode.ENVIRONMENT,
        f"--dicom_decoder=tfio needs tensorflow-io, which {what}",
        fix="its binary fits TensorFlow 2.16 alone; use --dicom_decoder=pydicom, or, "
        f"{installing.tensorflow_io()}",
    )


def read_pixels(data: bytes) -> np.ndarray:
    """Decodes the one frame of a plain file, [rows, columns] uint8.

    Raises:
      InputError: as dicom.read_pixels; or the file is not plain, or the two decoders
        differ by more than one grey level.
    """
    expected = dicom.read_pixels(data, voi="none")
    tensorflow, tfio = _libraries()
    try:
        decoded = tfio.image.decode_dicom_image(
            data, color_dim=False, on_error="strict", scale="preserve", dtype="uint8"
        ).numpy()
    except tensorflow.errors.OpError as e:
        raise InputError("DCM_TFIO", "tensorflow-io cannot read it", fix=_FIX) from e
    if decoded.shape != (1, *expected.shape, 1):
        raise InputError("DCM_TFIO", f"tensorflow-io gives {decoded.shape}", fix=_FIX)
    grey = decoded[0, :, :, 0]
    if np.abs(grey.astype(np.int32) - expected).max() > 1:
        raise InputError("DCM_TFIO", "tensorflow-io gives other pixels", fix=_FIX)
    return grey


@functools.cache
def _libraries():
    # Imported late: they are heavy, and only this option needs them.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow
    import tensorflow_io

    return tensorflow, tensorflow_io
