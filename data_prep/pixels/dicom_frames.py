"""Decodes one frame of a DICOM file to samples.

The decoder of each kind of stream is named in stream_decoders.py, because other
installed libraries must never change pixels.
"""

import dataclasses

import numpy as np
import pydicom
import pydicom.encaps
import pydicom.pixels
import pydicom.uid

from data_prep.core.errors import InputError
from data_prep.pixels import dicom_bits
from data_prep.pixels import dicom_tags
from data_prep.pixels import rle_frames
from data_prep.pixels import stream_decoders
from data_prep.pixels import stream_header
from data_prep.pixels.dicom_bits import EXPORT
from data_prep.pixels.dicom_bits import Bits
from data_prep.pixels.dicom_file import GET_AGAIN
from data_prep.pixels.notices import Notices

# What one file may take: its bytes twice, the samples, and the steps to 8 bits. It is
# less than a worker has, so that the reason is exact.
MAX_BYTES = 3 << 29
_STEP_BYTES = 8
_UNDEFINED_LENGTH = 0xFFFFFFFF
_ITEM = b"\xfe\xff\x00\xe0"
# The end of a list of fragments: tag (FFFE,E0DD), length 0.
_DELIMITER = b"\xfe\xff\xdd\xe0\0\0\0\0"
_NATIVE = (
    pydicom.uid.ImplicitVRLittleEndian,
    pydicom.uid.ExplicitVRLittleEndian,
    pydicom.uid.ExplicitVRBigEndian,
    pydicom.uid.DeflatedExplicitVRLittleEndian,
)
_KINDS = {
    pydicom.uid.JPEGBaseline8Bit: "jpeg",
    pydicom.uid.JPEGExtended12Bit: "jpeg",
    pydicom.uid.JPEGLossless: "lossless",
    pydicom.uid.JPEGLosslessSV1: "lossless",
    pydicom.uid.JPEGLSLossless: "jpeg-ls",
    pydicom.uid.JPEGLSNearLossless: "jpeg-ls",
    pydicom.uid.JPEG2000Lossless: "jpeg2000",
    pydicom.uid.JPEG2000: "jpeg2000",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Frame:
    """One decoded frame.

    Attributes:
      samples: [H, W], or [H, W, 3].
      colours: what three channels are.
      bits: what header and stream say of the samples.
    """

    samples: np.ndarray
    colours: str
    bits: Bits


def decoders() -> dict[str, str]:
    """Returns {name of a transfer syntax: package that is missing to decode it}.

    The package is "" for a syntax that can be decoded here. Lossless JPEG of 8 bits
    needs none.
    """
    native = dict.fromkeys((*_NATIVE, pydicom.uid.RLELossless), "")
    streams = {s: stream_decoders.missing_package(kind) for s, kind in _KINDS.items()}
    return {syntax.name: missing for syntax, missing in (native | streams).items()}


def decode(
    dataset: pydicom.Dataset,
    data: bytes,
    shape: tuple[int, int],
    wanted: int | None,
    notices: Notices,
) -> Frame:
    """Decodes one frame.

    Args:
      dataset: the parsed file, with its pixels.
      data: the file's bytes.
      shape: rows and columns, as the header says.
      wanted: which frame of a multi-frame file; None refuses such a file.
      notices: takes what is odd, and settled.

    Raises:
      InputError: the pixels are missing, cut short, or not decodable.
    """
    # Take the raw element: a parsed one has the length of what could be read.
    element = dataset.get_item("PixelData") if "PixelData" in dataset else None
    if not element or not element.value:
        raise InputError("DCM_NO_PIXELS", "the file has no pixel data", fix=GET_AGAIN)
    if _UNDEFINED_LENGTH != element.length > len(element.value):
        raise InputError("DCM_TRUNCATED", "the pixels are cut short", fix=GET_AGAIN)
    frames = _num_frames(dataset, notices)
    index = _index(frames, wanted)
    syntax = _known_syntax(dataset)
    if syntax == pydicom.uid.RLELossless:
        _check_end(dataset, data)
        return _rle(dataset, shape, index, frames, notices)
    native = None
    if syntax in _NATIVE:
        native = _Native(dataset, syntax, element, shape, frames, notices)
        if not native.is_short_stream():
            return native.frame(index)
    elif dataset["PixelData"].is_undefined_length:
        _check_end(dataset, data)
    stream = pydicom.encaps.get_frame(element.value, index, number_of_frames=frames)
    return _stream(dataset, stream, syntax, shape, notices)


def _num_frames(dataset: pydicom.Dataset, notices: Notices) -> int:
    frames = dicom_tags.whole(dataset, "NumberOfFrames")
    if not frames:
        if "NumberOfFrames" in dataset:
            notices.add("TAG_IGNORED")
        return 1
    return frames


def _index(frames: int, wanted: int | None) -> int:
    if frames > 1 and wanted is None:
        raise InputError(
            "DCM_MULTIFRAME", f"{frames} frames", fix="choose one with --frame"
        )
    if (wanted or 0) >= frames:
        raise InputError(
            "DCM_FRAME_MISMATCH",
            f"{frames} frames, --frame={wanted}",
            fix="choose another --frame",
        )
    return wanted or 0


def _known_syntax(dataset: pydicom.Dataset) -> pydicom.uid.UID:
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax in _NATIVE or syntax in _KINDS or syntax == pydicom.uid.RLELossless:
        return syntax
    # A name of the standard, but never a value that no table has.
    known = syntax in pydicom.uid.UID_dictionary
    name = syntax.name if known else "an unknown transfer syntax"
    raise InputError("DCM_NO_DECODER", f"no decoder for {name}", fix=EXPORT)


def _check_end(dataset: pydicom.Dataset, data: bytes) -> None:
    """Refuses fragments whose end is missing."""
    element = dataset["PixelData"]
    end = element.file_tell + len(element.value)
    if element.is_undefined_length and _DELIMITER not in data[end - 8 : end + 8]:
        raise InputError("DCM_TRUNCATED", "the file is cut short", fix=GET_AGAIN)


def _check_size(shape: tuple[int, int], sample_bytes: int, num_bytes: int) -> None:
    """Refuses a film that cannot be converted in the memory that a worker has."""
    needed = 2 * num_bytes + shape[0] * shape[1] * (sample_bytes + _STEP_BYTES)
    if needed > MAX_BYTES:
        raise InputError(
            "DCM_TOO_LARGE",
            f"{shape[0]} x {shape[1]} pixels in {num_bytes >> 20} MiB need "
            f"{needed >> 20} MiB of memory; a file may take {MAX_BYTES >> 20} MiB",
            fix="shrink it, or export the frame alone",
        )


def _samples(dataset: pydicom.Dataset, colours: str, notices: Notices) -> int:
    samples = dicom_tags.whole(dataset, "SamplesPerPixel")
    if samples is None:
        notices.add("BITS_DEFAULTED")
        samples = 1 if colours.startswith("MONOCHROME") else 3
    return samples


def _rle(dataset, shape, index: int, frames: int, notices: Notices) -> Frame:
    bits = dicom_bits.of_header(dataset, notices)
    colours = colours_of(dataset, notices)
    samples = _samples(dataset, colours, notices)
    value = dataset["PixelData"].value
    pixel_bytes = samples * bits.allocated // 8
    _check_size(shape, pixel_bytes, len(value))
    stream = pydicom.encaps.get_frame(value, index, number_of_frames=frames)
    rle_frames.check(stream, pixel_bytes, shape[0] * shape[1])
    array, _ = pydicom.pixels.get_decoder(pydicom.uid.RLELossless).as_array(
        value,
        raw=True,
        index=index,
        decoding_plugin="pydicom",
        rows=shape[0],
        columns=shape[1],
        number_of_frames=frames,
        samples_per_pixel=samples,
        photometric_interpretation=colours,
        planar_configuration=0,
        bits_allocated=bits.allocated,
        bits_stored=bits.stored,
        # The sign is extended later.
        pixel_representation=0,
        pixel_keyword="PixelData",
    )
    return Frame(samples=array, colours=colours, bits=bits)


class _Native:
    """Pixels that are not compressed."""

    def __init__(self, dataset, syntax, element, shape, frames: int, notices: Notices):
        self._dataset, self._value, self._shape = dataset, element.value, shape
        self._bits = dicom_bits.of_header(dataset, notices)
        self._big = not syntax.is_little_endian
        self._vr = element.VR
        self._colours = colours_of(dataset, notices)
        self._channels = _samples(dataset, self._colours, notices)
        samples = shape[0] * shape[1] * self._channels
        if self._colours == "YBR_FULL_422":
            samples = samples * 2 // 3  # Two pixels share their colour.
        self._length = samples * self._bits.allocated // 8
        self._expected = self._length * frames
        self._notices = notices

    def is_short_stream(self) -> bool:
        """Returns whether they are a compressed stream under a wrong name."""
        if len(self._value) >= self._expected or self._value[:4] != _ITEM:
            return False
        self._notices.add("SYNTAX_BY_STREAM")
        return True

    def frame(self, index: int) -> Frame:
        """Cuts one frame out.

        Raises:
          InputError: there are fewer or more pixels than the header says.
        """
        if len(self._value) < self._expected:
            raise InputError("DCM_TRUNCATED", "the pixels are cut short", fix=GET_AGAIN)
        if len(self._value) >= self._expected + self._length:
            raise InputError(
                "DCM_FRAME_MISMATCH", "more pixels than frames say", fix=GET_AGAIN
            )
        part = self._value[index * self._length : (index + 1) * self._length]
        width = self._bits.allocated // 8
        _check_size(self._shape, self._channels * width, len(self._value))
        if self._big and width == 1 and self._vr == "OW" and not len(part) % 2:
            # A word holds two bytes, its low one first.
            flat = np.frombuffer(part, ">u2").astype("<u2").view(np.uint8)
        else:
            flat = np.frombuffer(part, f"{'>' if self._big else '<'}u{width}")
        flat = flat.astype(flat.dtype.newbyteorder("="), copy=False)
        return Frame(
            samples=self._arranged(flat), colours=self._colours, bits=self._bits
        )

    def _arranged(self, flat: np.ndarray) -> np.ndarray:
        if self._channels == 1:
            return flat.reshape(self._shape)
        if self._channels != 3:
            raise InputError("DCM_COLOUR", "not a grey image", fix=EXPORT)
        if self._colours == "YBR_FULL_422":
            pairs = flat.reshape(-1, 4)
            return np.stack(
                [pairs[:, :2].ravel(), *(pairs[:, i].repeat(2) for i in (2, 3))],
                axis=-1,
            ).reshape(*self._shape, 3)
        if dicom_tags.whole(self._dataset, "PlanarConfiguration") == 1:
            return flat.reshape(3, *self._shape).transpose(1, 2, 0)
        return flat.reshape(*self._shape, 3)


def colours_of(dataset: pydicom.Dataset, notices: Notices) -> str:
    """Returns the photometric interpretation, in capitals."""
    stated = dicom_tags.text(dataset, "PhotometricInterpretation")
    if stated != stated.upper():
        notices.add("TAG_IGNORED")
    return stated.upper()


def _stream(dataset, stream: bytes, syntax, shape, notices: Notices) -> Frame:
    header = stream_header.read(stream)
    if header is None:
        raise InputError(
            "DCM_DAMAGED", "the pixels are no stream of a known kind", fix=GET_AGAIN
        )
    if header.shape != shape:
        raise InputError(
            "DCM_BAD_GEOMETRY",
            f"the header says {shape[0]} x {shape[1]}, the stream {header.shape}",
            fix=GET_AGAIN,
        )
    _check_size(shape, header.channels * (1 + (header.bits > 8)), len(stream))
    stated = dicom_tags.whole(dataset, "SamplesPerPixel")
    if stated is None:
        notices.add("BITS_DEFAULTED")
    if header.channels not in (1, 3) or stated not in (None, header.channels):
        raise InputError(
            "DCM_COLOUR", "header and stream differ in their channels", fix=EXPORT
        )
    if _KINDS.get(syntax, header.kind) != header.kind:
        notices.add("SYNTAX_BY_STREAM")
    colours = colours_of(dataset, notices)
    samples, colours, signed = stream_decoders.decode(stream, header, colours)
    bits = dicom_bits.of_stream(dataset, samples, header.bits, signed, notices)
    return Frame(samples=samples, colours=colours, bits=bits)
