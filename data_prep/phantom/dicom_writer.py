"""Writes DICOM files like those of the competition."""

import io
import pathlib

import numpy as np
import PIL.Image
import pydicom
import pydicom.encaps
import pydicom.uid

_SECONDARY_CAPTURE = pydicom.uid.UID("1.2.840.10008.5.1.4.1.1.7")


def write_jpeg_baseline(
    path: pathlib.Path,
    pixels: np.ndarray,
    *,
    patient_id: str,
    study_uid: str,
    series_uid: str,
    sop_uid: str,
    quality: int = 92,
) -> None:
    """Writes [H, W] uint8 like SIIM's files: 8-bit MONOCHROME2, JPEG Baseline."""
    stream = io.BytesIO()
    PIL.Image.fromarray(pixels).save(stream, format="JPEG", quality=quality)
    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID = _SECONDARY_CAPTURE
    meta.MediaStorageSOPInstanceUID = sop_uid
    meta.TransferSyntaxUID = pydicom.uid.JPEGBaseline8Bit
    dataset = pydicom.Dataset()
    dataset.file_meta = meta
    dataset.SOPClassUID = _SECONDARY_CAPTURE
    dataset.SOPInstanceUID = sop_uid
    dataset.StudyInstanceUID = study_uid
    dataset.SeriesInstanceUID = series_uid
    dataset.StudyDate = "19010101"
    dataset.StudyTime = "000000.00"
    dataset.AccessionNumber = ""
    dataset.Modality = "CR"
    dataset.ConversionType = "WSD"
    dataset.BodyPartExamined = "CHEST"
    dataset.ViewPosition = "PA"
    dataset.SeriesDescription = "view: PA"
    dataset.PatientName = patient_id
    dataset.PatientID = patient_id
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.PixelRepresentation = 0
    dataset.LossyImageCompression = "01"
    dataset.LossyImageCompressionMethod = "ISO_10918_1"
    dataset.PixelData = pydicom.encaps.encapsulate([stream.getvalue()])
    dataset["PixelData"].VR = "OB"
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
