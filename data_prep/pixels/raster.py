"""Reads images that are PNG or JPEG files instead of DICOM."""

import dataclasses
import io

import cv2
import numpy as np
import PIL.Image

from data_prep.core.errors import InputError
from data_prep.pixels import exif
from data_prep.pixels import grey
from data_prep.pixels import jpeg
from data_prep.pixels import jpeg_header
from data_prep.pixels import lossless_jpeg
from data_prep.pixels import png_stream
from data_prep.pixels.notices import Notices

SUFFIXES = (".png", ".jpg", ".jpeg")
MAX_PIXELS = 1 << 28
_FIX = "get the file again from its source, or remove it"
_EXPORT = "export it as grey PNG or as 8-bit grey JPEG (baseline)"
# Densities are rounded to whole dots per inch or metre.
_MOST_ASPECT = 1.01
# Pillow warns at its limit and raises only at twice that; MAX_PIXELS replaces it.
PIL.Image.MAX_IMAGE_PIXELS = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Picture:
    """A PNG or JPEG file whose header has been read.

    Attributes:
      header: of its kind.
      data: the file's bytes.
      height: of the stored pixels.
      width: of the stored pixels.
      orientation: by EXIF, 1 to 8.
      pictures: how many pictures or frames the file holds.
      density: dots per length, horizontally and vertically, or None.
    """

    header: png_stream.Png | jpeg_header.Header
    data: bytes
    height: int
    width: int
    orientation: int
    pictures: int
    density: tuple[int, int] | None

    def decode(self) -> np.ndarray:
        """Decodes the stored pixels, not turned.

        Returns:
          [H, W] of grey or bool, or [H, W, C] with colour or alpha: 2 channels are
          grey and alpha, 3 are RGB, 4 are RGB and alpha; uint8, or uint16 for 16 bits.

        Raises:
          InputError: damaged or cut short.
        """
        if isinstance(self.header, png_stream.Png):
            return _decode_png(self.header)
        array = jpeg.decode(self.data)
        if self.header.is_lossless and array.ndim == 2:
            lossless_jpeg.check(self.data, array)
        return array


def open_picture(data: bytes) -> Picture:
    """Reads the header of a PNG or JPEG file and checks what costs little.

    Raises:
      InputError: not a PNG or JPEG file, cut short, or too large.
    """
    if not data:
        raise InputError("IMG_EMPTY", "the file has no byte", fix=_FIX)
    if data.startswith(png_stream.SIGNATURE):
        picture = _png(data)
    elif data.startswith(jpeg_header.SIGNATURE):
        picture = _jpeg(data)
    else:
        raise InputError("IMG_NOT_IMAGE", "not a PNG or JPEG file", fix=_FIX)
    if picture.width * picture.height > MAX_PIXELS:
        raise InputError("IMG_BOMB", f"over {MAX_PIXELS} pixels", fix=_FIX)
    return picture


def size_of(data: bytes) -> tuple[int, int]:
    """Returns (height, width) in pixels without decoding, turned upright.

    Raises:
      InputError: as `read_pixels`, where the header tells.
    """
    picture = open_picture(data)
    _check_film(picture)
    return exif.turned_size((picture.height, picture.width), picture.orientation)


def read_pixels(
    data: bytes, *, voi: str = "first", notices: Notices | None = None
) -> np.ndarray:
    """Decodes a grey image, and turns it upright as its EXIF says.

    Args:
      data: the file's bytes.
      voi: a key of grey.VOI; a file without a window shows its whole range as "first".
      notices: takes the codes of what is odd about the file.

    Returns:
      [H, W] uint8.

    Raises:
      InputError: damaged, cut short, coloured, constant, of pixels that are not
        square, or of a rare kind of JPEG.
    """
    notices = Notices() if notices is None else notices
    picture = open_picture(data)
    _check_film(picture)
    array = _one_channel(picture.decode(), notices)
    if picture.pictures > 1:
        notices.add("FIRST_PICTURE")
    if picture.orientation != exif.UPRIGHT:
        notices.add("EXIF_TURNED")
        array = exif.turn(array, picture.orientation)
    return grey.to_uint8(
        grey.Stored(
            values=array,
            low=0,
            high=np.iinfo(array.dtype).max,
            windowed=None,
            padding=None,
            inverted=False,
        ),
        voi,
        notices,
    )


def _png(data: bytes) -> Picture:
    png = png_stream.parse(data)
    animation = png.first(b"acTL") or b""
    physical = png.first(b"pHYs") or b""
    density = None
    if len(physical) == 9:
        density = (
            int.from_bytes(physical[:4], "big"),
            int.from_bytes(physical[4:8], "big"),
        )
    return Picture(
        header=png,
        data=data,
        height=png.height,
        width=png.width,
        orientation=exif.orientation(png.first(b"eXIf")),
        pictures=max(1, int.from_bytes(animation[:4], "big")),
        density=density,
    )


def _jpeg(data: bytes) -> Picture:
    header = jpeg_header.parse(data)
    return Picture(
        header=header,
        data=data,
        height=header.height,
        width=header.width,
        orientation=exif.orientation(header.exif),
        pictures=header.pictures,
        density=header.density,
    )


def _check_film(picture: Picture) -> None:
    """Refuses what no film may be, and no decoding is needed to know."""
    x, y = picture.density or (0, 0)
    if x and y and max(x, y) > _MOST_ASPECT * min(x, y):
        raise InputError(
            "IMG_NOT_SQUARE",
            "the file says that its pixels are not square",
            fix="resample it to square pixels, or correct its density",
        )
    if isinstance(picture.header, png_stream.Png):
        return
    odd = picture.header.odd_process()
    if odd:
        raise InputError("IMG_NO_DECODER", f"no decoder for {odd}", fix=_EXPORT)


def _decode_png(png: png_stream.Png) -> np.ndarray:
    data = png_stream.pixels_alone(png)
    try:
        # Pillow would drop the lower byte of these.
        if png.depth == 16 and png.colour != png_stream.GREY:
            return _deep_colour(data)
        image = PIL.Image.open(io.BytesIO(data), formats=("PNG",))
        if png.colour in (png_stream.PALETTE, png_stream.RGB):
            image = image.convert("RGBA" if png.first(b"tRNS") else "RGB")
        elif image.mode == "1":
            image = image.convert("L")
        array = np.asarray(image)
    # Pillow's decoders raise nearly anything on damaged bytes.
    except (OSError, ValueError, SyntaxError, EOFError, IndexError, TypeError) as e:
        raise InputError(
            "IMG_DAMAGED",
            f"the file is damaged or cut short ({type(e).__name__})",
            fix=_FIX,
        ) from e
    # Some versions of Pillow have 16 bits as int32.
    array = array.astype(np.uint16, copy=False) if png.depth == 16 else array
    return _with_transparent_value(array, png)


def _with_transparent_value(array: np.ndarray, png: png_stream.Png) -> np.ndarray:
    """Adds the alpha of a grey image that has one transparent value."""
    key = png.first(b"tRNS")
    if array.ndim != 2 or not key:
        return array
    high = np.iinfo(array.dtype).max
    transparent = int.from_bytes(key[:2], "big") * (high // ((1 << png.depth) - 1))
    alpha = np.where(array == transparent, 0, high).astype(array.dtype)
    return np.dstack([array, alpha])


def _deep_colour(data: bytes) -> np.ndarray:
    array = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if array is None or array.ndim != 3:
        raise ValueError("OpenCV does not decode it")
    # OpenCV has blue first.
    return array[:, :, [2, 1, 0, *range(3, array.shape[2])]]


def _one_channel(array: np.ndarray, notices: Notices) -> np.ndarray:
    """Returns the grey values; alpha tells nothing about a film, and is left out."""
    if array.ndim == 2:
        return array
    channels = array.shape[2]
    if channels in (2, 4):
        if array[:, :, -1].min() < np.iinfo(array.dtype).max:
            notices.add("ALPHA_IGNORED")
        array = array[:, :, :-1]
    return array[:, :, 0] if channels == 2 else grey.from_rgb(array)
