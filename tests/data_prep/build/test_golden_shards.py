"""The bytes of a small dataset are fixed for all supported library versions.

No number here comes from a random generator or an interpolating library: those differ
between versions. The films are formulas, so that only the conversion is tested.
"""

import dataclasses
import hashlib

import numpy as np
import pytest

from data_prep.build import convert
from data_prep.core.errors import ExitCode
from data_prep.dataset import rle
from data_prep.phantom import dicom_writer
from tests import dicom_files

# {CLAHE: sha256 over the names and bytes of all shards at 32 and 64 px}. Seen with
# TensorFlow 2.16.2, numpy 1.26, OpenCV 4.11 and with 2.21.0, numpy 2.4, OpenCV 5.0.
EXPECTED = {
    "opencv(clip_limit=2.0, tiles=8)": (
        "5ca12d214e0615b4272dd5309af517e644bad04ef60e17c8a0c83781ff41ef65"
    ),
    "skimage(clip_limit=0.01)": (
        "16d62a2c64779f20f4f215c1746276152938dd69f3a1d0946f3eced40805e2e3"
    ),
    "none": ("0025ad3e7d910eddb7fa2caf8cbec56fce02779e2eac528a011d3e27ffe39306"),
}


def film(index: int) -> np.ndarray:
    """Returns a square or upright picture, [H, 96] uint8, smooth with sharp edges."""
    y, x = np.mgrid[0 : 96 + 32 * (index % 2), 0:96]
    waves = (x * x + (index + 2) * y * y) // 64 % 97
    return (waves + x + (x // 12 + y // 12) % 2 * 40).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """Twelve films, every third one JPEG, with a csv; every second is positive."""
    folder = tmp_path_factory.mktemp("films")
    rows = ["ImageId,EncodedPixels"]
    for index in range(12):
        pixels, path = film(index), folder / "source" / f"film{index:02d}.dcm"
        path.parent.mkdir(exist_ok=True)
        if index % 3:
            data = dicom_files.native(pixels, PatientID=f"patient{index}")
            path.write_bytes(dicom_files.as_bytes(data))
        else:
            dicom_writer.write_jpeg_baseline(
                path,
                pixels,
                patient_id=f"patient{index}",
                study_uid="2.25.1",
                series_uid="2.25.2",
                sop_uid="2.25.3",
            )
        mask = np.zeros_like(pixels)
        mask[10 + index : 40 + index, 30:50] = index % 2
        rows.append(f"film{index:02d},{rle.encode(mask) if index % 2 else '-1'}")
    (folder / "rle.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.mark.parametrize("clahe", EXPECTED)
def test_bytes_of_the_shards(convert_config, films, tmp_path, clahe):
    config = dataclasses.replace(
        convert_config,
        source=films / "source",
        rle_csv=films / "rle.csv",
        test_source=None,
        output=tmp_path / "data",
        clahe=clahe,
    )
    assert convert.convert(config) == ExitCode.DONE
    shards = sorted(config.output.glob("*/*.tfrecord-*"))
    assert len(shards) == 2 * 3 * 2
    digest = hashlib.sha256()
    for shard in shards:
        digest.update(f"{shard.parent.name}/{shard.name}\n".encode())
        digest.update(shard.read_bytes())
    assert digest.hexdigest() == EXPECTED[clahe]
