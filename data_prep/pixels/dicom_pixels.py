"""Applies to a DICOM frame what its header says: modality, window, polarity."""

import numpy as np
import pydicom

from data_prep.core.errors import InputError
from data_prep.pixels import dicom_bits
from data_prep.pixels import dicom_frames
from data_prep.pixels import dicom_tags
from data_prep.pixels import dicom_window
from data_prep.pixels import grey
from data_prep.pixels.dicom_bits import EXPORT
from data_prep.pixels.dicom_bits import Values
from data_prep.pixels.dicom_frames import Frame
from data_prep.pixels.dicom_tags import OddValueError
from data_prep.pixels.notices import Notices

_GREY = ("MONOCHROME1", "MONOCHROME2")
# Sides of a pixel that differ by less are equal on a screen.
_SQUARE_TOLERANCE = 0.01


def stored(
    dataset: pydicom.Dataset,
    data: bytes,
    shape: tuple[int, int],
    frame: int | None,
    notices: Notices,
    *,
    windowed: bool,
) -> grey.Stored:
    """Decodes one frame.

    Args:
      dataset: the parsed file, with its pixels.
      data: the file's bytes.
      shape: rows and columns, as the header says.
      frame: which frame of a multi-frame file; None refuses such a file.
      notices: takes the codes of what is odd.
      windowed: whether the file's first window is wanted.

    Returns:
      Its grey values, and how to show them.

    Raises:
      InputError: the pixels are missing, cut short, coloured, not square, not
        decodable, or have no one meaning.
    """
    _refuse_oblong(dataset, notices)
    decoded = dicom_frames.decode(dataset, data, shape, frame, notices)
    inverted = _is_inverted(dataset, decoded, notices)
    samples = _one_channel(decoded)
    values = dicom_bits.values(samples, decoded.bits, dataset, notices)
    array, low, high, slope, intercept = _modality(dataset, values, notices)
    shows = None
    if windowed:
        shows = dicom_window.read(dataset, notices, signed=low < 0)
    return grey.Stored(
        values=array,
        low=low,
        high=high,
        windowed=dicom_window.apply(shows, array) if shows else None,
        padding=values.padding,
        inverted=inverted,
        slope=slope,
        intercept=intercept,
    )


def _refuse_oblong(dataset: pydicom.Dataset, notices: Notices) -> None:
    """Refuses pixels that are not square.

    A mask is drawn in stored pixels, and lesions would have the wrong shape.
    """
    for name in ("PixelAspectRatio", "PixelSpacing", "ImagerPixelSpacing"):
        try:
            sides = dicom_tags.numbers(dataset, name)
        except OddValueError:
            sides = [0.0]
        if not sides:
            continue
        if len(sides) != 2 or min(sides) <= 0:
            notices.add("TAG_IGNORED")
        elif max(sides) > min(sides) * (1 + _SQUARE_TOLERANCE):
            raise InputError(
                "DCM_NOT_SQUARE",
                "its pixels are not square",
                fix="resample image and mask to square pixels",
            )


def _one_channel(frame: Frame) -> np.ndarray:
    """Returns [rows, columns]; accepts colour images whose pixels are all grey."""
    samples, colours = frame.samples, frame.colours
    if samples.ndim == 2 and colours in _GREY:
        return samples
    if samples.ndim == 3 and colours == "RGB":
        return np.ascontiguousarray(grey.from_rgb(samples))
    if samples.ndim == 3 and colours in ("YBR_FULL", "YBR_FULL_422"):
        return np.ascontiguousarray(grey.from_ybr(samples))
    raise InputError("DCM_COLOUR", "not a grey image", fix=EXPORT)


def _is_inverted(dataset: pydicom.Dataset, frame: Frame, notices: Notices) -> bool:
    """Returns whether low values are bright.

    In the standard (PS3.3 C.8.11.3.1.2) an INVERSE presentation belongs to MONOCHROME1
    and states the same; viewers do not agree about other pairs.
    """
    shape = dicom_tags.text(dataset, "PresentationLUTShape").upper()
    low_is_bright = frame.colours == "MONOCHROME1"
    if shape == "INVERSE" and not low_is_bright:
        raise InputError(
            "DCM_BAD_POLARITY",
            "the header says both that low values are dark and that they are bright",
            fix="correct PhotometricInterpretation or remove PresentationLUTShape",
        )
    if shape == "IDENTITY" and low_is_bright:
        notices.add("POLARITY_BY_PHOTOMETRIC")
    elif "PresentationLUTShape" in dataset and shape not in ("IDENTITY", "INVERSE"):
        notices.add("TAG_IGNORED")
    return low_is_bright


def _modality(dataset: pydicom.Dataset, values: Values, notices: Notices):
    """Returns values, least and largest possible one, slope and intercept."""
    try:
        item = dicom_tags.item(dataset, "ModalityLUTSequence")
    except OddValueError:
        notices.add("RESCALE_DEFAULTED")
        item = None
    if item is not None:
        try:
            table = dicom_window.read_table(item, signed=values.signed)
        except OddValueError as e:
            raise _bad_rescale("the modality table contradicts itself") from e
        return table(values.array), 0, 2**table.bits - 1, 1.0, 0.0
    slope, intercept = _rescale(dataset, notices)
    bits = values.bits
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if values.signed else (0, 0)
    high = high or 2**bits - 1
    if (slope, intercept) == (1, 0):
        return values.array, low, high, slope, intercept
    low, high = sorted((low * slope + intercept, high * slope + intercept))
    whole = slope.is_integer() and intercept.is_integer() and abs(low) + high < 1 << 31
    number = np.int32 if whole else np.float64
    array = values.array.astype(number) * number(slope) + number(intercept)
    return array, low, high, slope, intercept


def _rescale(dataset: pydicom.Dataset, notices: Notices) -> tuple[float, float]:
    """Returns slope and intercept; an empty or missing one changes nothing."""
    found = {}
    for name, default in (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0)):
        empty = not dicom_tags.text(dataset, name)
        try:
            value = [] if empty else dicom_tags.numbers(dataset, name)
        except OddValueError as e:
            raise _bad_rescale(f"{name} is no number") from e
        found[name] = value[0] if value else default
    present = [name in dataset for name in found]
    if any(present) and not all(dicom_tags.text(dataset, name) for name in found):
        notices.add("RESCALE_DEFAULTED")
    if not found["RescaleSlope"]:
        raise _bad_rescale("the slope is 0")
    return found["RescaleSlope"], found["RescaleIntercept"]


def _bad_rescale(reason: str) -> InputError:
    return InputError("DCM_BAD_RESCALE", reason, fix=EXPORT)
