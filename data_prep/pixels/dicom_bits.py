"""Turns decoded samples into values, by what header and stream say of their bits."""

import dataclasses

import numpy as np
import pydicom

from data_prep.core.errors import InputError
from data_prep.pixels import dicom_tags
from data_prep.pixels.dicom_tags import OddValueError
from data_prep.pixels.notices import Notices

EXPORT = "export it as 8-bit grey, uncompressed or JPEG Baseline"
_CONTRADICT = "bits allocated, stored, high bit and sign contradict the pixels"
_OVERLAY_GROUPS = range(0x6000, 0x6020, 2)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bits:
    """What is said of the bits of a sample.

    Attributes:
      allocated: 8, 16 or 32, of a sample in memory.
      stored: number of bits that hold the value.
      high: the highest of them, counted from 0.
      signed: whether the value is; None where nothing says so.
      others: bits above the stored ones that may be set, as a mask: overlays.
    """

    allocated: int
    stored: int
    high: int
    signed: bool | None
    others: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Values:
    """The values of a frame.

    Attributes:
      array: [H, W], signed or not.
      bits: how many each of them has.
      signed: whether they are.
      padding: [H, W] bool, the pixels outside of the image, or None.
    """

    array: np.ndarray
    bits: int
    signed: bool
    padding: np.ndarray | None


def of_header(dataset: pydicom.Dataset, notices: Notices) -> Bits:
    """Reads the bits of an uncompressed file.

    Raises:
      InputError: they are missing, or impossible.
    """
    allocated, stored, high, sign = _elements(dataset)
    if sign not in (None, 0, 1) or allocated not in (8, 16, 32):
        raise contradiction()
    if stored is None or not 1 < stored <= allocated:
        raise contradiction()
    if high is None or sign is None:
        notices.add("BITS_DEFAULTED")
    return Bits(
        allocated=allocated,
        stored=stored,
        high=stored - 1 if high is None else high,
        signed=None if sign is None else bool(sign),
        others=_overlay_bits(dataset),
    )


def of_stream(
    dataset: pydicom.Dataset,
    samples: np.ndarray,
    bits: int,
    signed: bool | None,
    notices: Notices,
) -> Bits:
    """Returns the bits of a stream, which win over those of the header.

    Args:
      dataset: its header.
      samples: what the stream decodes to.
      bits: its precision.
      signed: whether its samples are; None if such a stream cannot say so.
      notices: takes BITS_FROM_STREAM where the header says something else.

    Raises:
      InputError: stream and header differ in the sign, and it matters.
    """
    _, stored, high, sign = _elements(dataset)
    if signed is None:
        signed = bool(sign)
    elif bits > 8 and signed != bool(sign) and not _either_sign(samples, bits):
        # Encoders differ in which of the two they get wrong.
        raise contradiction()
    narrower = stored is not None and 1 < stored < bits and high == stored - 1
    if narrower and _fits(samples, stored, signed):
        # The encoder wrote the allocated bits into its header.
        bits = stored
    if (stored, high, sign) != (bits, bits - 1, int(signed)):
        notices.add("BITS_FROM_STREAM")
    allocated = 8 * samples.dtype.itemsize
    return Bits(allocated=allocated, stored=bits, high=bits - 1, signed=signed)


def contradiction(reason: str = _CONTRADICT) -> InputError:
    """Returns the error of bits that cannot be what is said of them."""
    return InputError("DCM_BAD_BITS", reason, fix=EXPORT)


def values(
    samples: np.ndarray, bits: Bits, dataset: pydicom.Dataset, notices: Notices
) -> Values:
    """Returns the values of [H, W] samples as they lie in memory.

    Args:
      samples: [H, W] of `bits.allocated` bits.
      bits: what is said of them.
      dataset: the file, for its padding.
      notices: takes what is settled here.

    Raises:
      InputError: samples have bits where none can be, or no meaning is the only one.
    """
    raw = samples.view(samples.dtype.str.replace("i", "u"))
    limits = _padding_limits(dataset, bits, notices)
    padding = _between(raw.view(raw.dtype.str.replace("u", "i")), limits)
    if not bits.signed:
        padding = _between(raw, limits)
    image = raw if padding is None else raw[~padding]
    union = int(np.bitwise_or.reduce(image, axis=None)) if image.size else 0
    shift = _shift(bits, image, union, notices)
    _check_above(bits, image, union, shift, notices)
    raw = (raw >> shift) & ((1 << bits.stored) - 1)
    signed = _sign(bits, union)
    array = _extended(raw, bits) if signed else raw
    if signed:
        _refuse_wrapped(array, bits.stored)
    by_value = _between(array, limits)
    return Values(
        array=array,
        bits=bits.stored,
        signed=signed,
        padding=by_value if padding is None else padding | by_value,
    )


def _elements(dataset: pydicom.Dataset):
    names = ("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation")
    return tuple(dicom_tags.whole(dataset, name) for name in names)


def _overlay_bits(dataset: pydicom.Dataset) -> int:
    """Returns the bits that hold overlays, which older files keep in the pixels."""
    mask = 0
    for group in _OVERLAY_GROUPS:
        # Overlay Data, or else Overlay Bit Position (PS3.3 C.9.2 of 2004).
        if (group, 0x3000) in dataset or (group, 0x0102) not in dataset:
            continue
        place = dataset[group, 0x0102].value
        if isinstance(place, int) and 0 < place < 32:
            mask |= 1 << place
    return mask


def _fits(samples: np.ndarray, bits: int, signed: bool) -> bool:
    low, high = (-(1 << bits - 1), 1 << bits - 1) if signed else (0, 1 << bits)
    return low <= int(samples.min()) and int(samples.max()) < high


def _either_sign(samples: np.ndarray, bits: int) -> bool:
    """Returns whether samples mean the same with and without a sign."""
    return samples.min() >= 0 and int(samples.max()) < 1 << (bits - 1)


def _shift(bits: Bits, image: np.ndarray, union: int, notices: Notices) -> int:
    """Returns how far the values lie above bit 0.

    A high bit that is not the last stored one is true where all bits below the value
    are clear and some above the stored ones are set, and a mistake where it is the
    other way round.
    """
    shift = bits.high + 1 - bits.stored
    if not shift:
        return 0
    below = union & ((1 << max(shift, 0)) - 1)
    if union >> bits.stored == 0 and (shift < 0 or below):
        notices.add("HIGH_BIT_IGNORED")
        return 0
    room = bits.allocated - bits.stored
    if 0 < shift <= room and union >> bits.stored and not below:
        return shift
    raise contradiction()


def _check_above(bits: Bits, image, union: int, shift: int, notices: Notices) -> None:
    """Refuses bits above the stored ones that are neither overlays nor a sign."""
    above = union >> (bits.stored + shift)
    if not above:
        return
    ones = (1 << (bits.allocated - bits.stored - shift)) - 1
    if bits.signed:
        # In a signed sample they repeat the sign, or are clear in all.
        tops = image >> (bits.stored + shift - 1)
        if np.isin(tops, (0, 1, 2 * ones + 1)).all():
            return
    if above & ~(bits.others >> (bits.stored + shift)):
        raise contradiction("there are values above the stored bits")
    notices.add("OVERLAY_BITS_MASKED")


def _sign(bits: Bits, union: int) -> bool:
    if bits.signed is not None:
        return bits.signed
    # Samples of 8 bits are unsigned in practice, and small ones mean the same.
    if bits.allocated > 8 and union >> (bits.stored - 1):
        raise contradiction("nothing says whether the pixels are signed")
    return False


def _extended(raw: np.ndarray, bits: Bits) -> np.ndarray:
    """Extends the sign into the bits above the stored ones."""
    spare = bits.allocated - bits.stored
    return (raw << spare).view(raw.dtype.str.replace("u", "i")) >> spare


def _refuse_wrapped(array: np.ndarray, bits: int) -> None:
    """Refuses unsigned samples that the header calls signed.

    Their large values turn negative, so that neighbours differ by nearly the whole
    range wherever the image crosses its middle. Read as unsigned it has fewer jumps.
    """
    jump = 3 << (bits - 2)
    if int(array.max()) - int(array.min()) <= jump:
        return
    jumps = []
    for one in (array.astype(np.int64), array.astype(np.int64) & ((1 << bits) - 1)):
        jumps.append(np.count_nonzero(np.abs(np.diff(one, axis=1)) > jump))
    if jumps[0] > jumps[1]:
        raise contradiction("the header says signed, and the pixels are unsigned")


def _padding_limits(
    dataset: pydicom.Dataset, bits: Bits, notices: Notices
) -> tuple[int, int] | None:
    """Returns the first and last value of pixels outside of the image."""
    try:
        value = dicom_tags.numbers(dataset, "PixelPaddingValue")
        limit = dicom_tags.numbers(dataset, "PixelPaddingRangeLimit")
    except OddValueError:
        notices.add("PADDING_IGNORED")
        return None
    if not value and not limit:
        return None
    span = 1 << bits.allocated
    if len(value) != 1 or len(limit) > 1 or (value[0] < 0 and not bits.signed):
        notices.add("PADDING_IGNORED")
        return None
    ends = [int(x) for x in (*value, *(limit or value))]
    if bits.signed:
        # A value of the wrong sign has the right bits.
        ends = [x - span if x >= span // 2 else x for x in ends]
    return min(ends), max(ends)


def _between(array: np.ndarray, limits: tuple[int, int] | None) -> np.ndarray | None:
    if limits is None:
        return None
    return (array >= limits[0]) & (array <= limits[1])
