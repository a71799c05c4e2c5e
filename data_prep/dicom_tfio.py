"""Decodes DICOM with tensorflow-io, for comparison; the only module that knows it.

Not for untrusted files: DCMTK, which it bundles, is of 2021, and hostile bytes can
end the process or fill a cut file with zeros. Hence each file is also read by
data_prep/dicom.py first, and only plain 8-bit grey files come here.
"""

import functools
import os

import numpy as np

from data_prep import dicom
from data_prep.failures import Rejected

_MEND = "convert it with --dicom_decoder=pydicom"


def read_pixels(data: bytes) -> np.ndarray:
    """Decodes the one frame of a plain file, [rows, columns] uint8.

    Raises:
      Rejected: as dicom.read_pixels, the file is not plain, or the two decoders
        differ by over one grey level.
    """
    expected = dicom.read_pixels(data, voi="none")
    tensorflow, tfio = _libraries()
    try:
        decoded = tfio.image.decode_dicom_image(
            data, color_dim=False, on_error="strict", scale="preserve", dtype="uint8"
        ).numpy()
    except tensorflow.errors.OpError as e:
        raise Rejected("DCM_TFIO", "tensorflow-io cannot read it", mend=_MEND) from e
    if decoded.shape != (1, *expected.shape, 1):
        raise Rejected("DCM_TFIO", f"tensorflow-io gives {decoded.shape}", mend=_MEND)
    grey = decoded[0, :, :, 0]
    if np.abs(grey.astype(np.int32) - expected).max() > 1:
        raise Rejected("DCM_TFIO", "tensorflow-io gives other pixels", mend=_MEND)
    return grey


@functools.cache
def _libraries():
    # Heavy, and only this option needs them.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow
    import tensorflow_io

    return tensorflow, tensorflow_io
