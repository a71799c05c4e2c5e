"""What a file's first window or table of values of interest shows (PS3.3 C.11.2).

A window has an output range of its own, black to white, whatever values the film has.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
import pydicom

from data_prep.pixels import dicom_tags
from data_prep.pixels import grey
from data_prep.pixels.dicom_tags import OddValueError
from data_prep.pixels.notices import Notices

_MAX_TABLE = 1 << 17


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """A lookup table of the standard (PS3.3 C.11.1.1).

    Attributes:
      first: the value that the first entry stands for.
      entries: [N] uint8 or uint16, outputs.
      bits: of an output, 8 to 16.
    """

    first: int
    entries: np.ndarray
    bits: int

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Returns the outputs; values beyond an end have the output of that end."""
        places = np.floor(values).astype(np.int64) - self.first
        return self.entries[np.clip(places, 0, len(self.entries) - 1)]


def read_table(item: pydicom.Dataset, *, signed: bool) -> Table:
    """Reads a lookup table.

    Args:
      item: of ModalityLUTSequence or VOILUTSequence.
      signed: whether the values that it maps are.

    Raises:
      OddValueError: it contradicts itself.
    """
    descriptor = dicom_tags.numbers(item, "LUTDescriptor")
    if len(descriptor) != 3 or not dicom_tags.raw(item, "LUTData"):
        raise OddValueError("LUTDescriptor")
    # The number is unsigned, whatever the VR; 0 stands for 65536.
    length = int(descriptor[0]) % 65536 or 65536
    first = int(descriptor[1])
    if signed and first > 32767:
        first -= 65536
    entries, bits = _entries(item, length), int(descriptor[2])
    if len(entries) != length or not 8 <= bits <= 16 or entries.max() >> bits:
        raise OddValueError("LUTData")
    return Table(first=first, entries=entries, bits=bits)


def _entries(item: pydicom.Dataset, length: int) -> np.ndarray:
    data = dicom_tags.raw(item, "LUTData")
    if isinstance(data, bytes | bytearray):
        wide = len(data) >= 2 * length
        # pydicom leaves the order of bytes to the reader; None means little endian.
        order = ">" if item.original_encoding[1] is False else "<"
        return np.frombuffer(data, f"{order}u2" if wide else np.uint8)[:length]
    found = dicom_tags.numbers(item, "LUTData")
    if not all(value.is_integer() and 0 <= value < 65536 for value in found):
        raise OddValueError("LUTData")
    return np.array(found).astype(np.uint16)


def read(
    dataset: pydicom.Dataset,
    notices: Notices,
    *,
    signed: bool,
) -> Callable[[np.ndarray], np.ndarray] | None:
    """Reads what the file shows first: its table if it has one, else its window.

    Args:
      dataset: the file.
      notices: takes WINDOW_IGNORED, or TAG_IGNORED for an odd table beside a window.
      signed: whether the values that a table maps are.

    Returns:
      A function from values in the modality's units to 0..1, or None.
    """
    is_odd = False
    for read_one in (_table, _window):
        try:
            found = read_one(dataset, signed)
        except OddValueError:
            is_odd = True
            continue
        if found:
            if is_odd:
                notices.add("TAG_IGNORED")
            return found
    if is_odd:
        notices.add("WINDOW_IGNORED")
    return None


def apply(shows: Callable[[np.ndarray], np.ndarray], values: np.ndarray) -> np.ndarray:
    """Returns what `shows` makes of [H, W] values, [H, W] float32 in 0..1."""
    low, high = values.min(), values.max()
    if values.dtype.kind == "f" or int(high) - int(low) >= _MAX_TABLE:
        return shows(values.astype(np.float64)).astype(np.float32)
    domain = np.arange(int(low), int(high) + 1, dtype=np.float64)
    places = values.astype(np.int64) - int(low)
    return shows(domain).astype(np.float32)[places]


def _table(dataset: pydicom.Dataset, signed: bool):
    item = dicom_tags.item(dataset, "VOILUTSequence")
    if item is None:
        return None
    table = read_table(item, signed=signed)
    # Some files declare 16 bits for 12.
    bits = grey.fitting_bits(int(table.entries.max()), table.bits)
    return lambda values: table(values) / (2**bits - 1)


def _window(dataset: pydicom.Dataset, signed: bool):
    centers = dicom_tags.numbers(dataset, "WindowCenter")
    widths = dicom_tags.numbers(dataset, "WindowWidth")
    if not centers and not widths:
        return None
    function = dicom_tags.text(dataset, "VOILUTFunction").upper() or "LINEAR"
    if not centers or not widths or function not in _FUNCTIONS:
        raise OddValueError("WindowCenter")
    center, width = centers[0], widths[0]
    # PS3.3 C.11.2.1.2.1 and C.11.2.1.3.
    if width < 1 if function == "LINEAR" else width <= 0:
        raise OddValueError("WindowWidth")
    return lambda values: _FUNCTIONS[function](values, center, width)


def _linear(values: np.ndarray, center: float, width: float) -> np.ndarray:
    if width == 1:
        return (values > center - 0.5).astype(np.float64)
    return np.clip((values - (center - 0.5)) / (width - 1) + 0.5, 0, 1)


def _linear_exact(values: np.ndarray, center: float, width: float) -> np.ndarray:
    return np.clip((values - center) / width + 0.5, 0, 1)


def _sigmoid(values: np.ndarray, center: float, width: float) -> np.ndarray:
    exponents = np.clip(-4 * (values - center) / width, -700, 700)
    return 1 / (1 + np.exp(exponents))


_FUNCTIONS = {"LINEAR": _linear, "LINEAR_EXACT": _linear_exact, "SIGMOID": _sigmoid}
