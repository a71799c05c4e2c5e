"""The size of a film's pixels, as the header of its DICOM file says."""

import dataclasses

import pydicom

from data_prep.pixels import dicom_tags

# In the order in which they count. PixelSpacing is that in the patient or at the
# detector, see DICOM PS3.3 10.7.1.3; the other two are at the detector or the film.
ELEMENTS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
# Origin of a size that is there and cannot be one.
ODD = "odd"
# Of a film's pixel, in mm: detectors have 0.05 to 0.4, and 10 is a film of 128 pixels
# across 1.28 m.
_SMALLEST_MM, _LARGEST_MM = 0.001, 10.0


@dataclasses.dataclass(frozen=True)
class Spacing:
    """The distance between the centres of neighbouring pixels.

    Attributes:
      rows_mm: between rows, so the height of a pixel; 0 if `origin` is ODD.
      columns_mm: between columns, so its width; likewise.
      origin: the element that says so, or ODD.
    """

    rows_mm: float
    columns_mm: float
    origin: str

    @property
    def is_known(self) -> bool:
        """Whether it is a size."""
        return self.origin != ODD

    @property
    def pixel_mm2(self) -> float:
        """Area of one pixel, in mm2."""
        return self.rows_mm * self.columns_mm

    @property
    def text(self) -> str:
        r"""Returns it as DICOM writes it, such as 0.143\0.143; '' if it is ODD."""
        if not self.is_known:
            return ""
        return f"{self.rows_mm!r}\\{self.columns_mm!r}"


def of_dataset(dataset: pydicom.Dataset) -> Spacing | None:
    """Returns the spacing in a header; None if it has none.

    The first of `ELEMENTS` that holds the two numbers of a film counts.
    """
    is_odd = False
    for name in ELEMENTS:
        try:
            values = dicom_tags.numbers(dataset, name)
        except dicom_tags.OddValueError:
            is_odd = True
            continue
        if len(values) == 2 and all(_SMALLEST_MM <= v <= _LARGEST_MM for v in values):
            return Spacing(*values, name)
        is_odd = is_odd or bool(values)
    return Spacing(0.0, 0.0, ODD) if is_odd else None
