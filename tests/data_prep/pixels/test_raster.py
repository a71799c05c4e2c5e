import io

import cv2
import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest

from data_prep.core.errors import InputError
from data_prep.pixels import jpeg
from data_prep.pixels import notices
from data_prep.pixels import png_stream
from data_prep.pixels import raster
from tests import raster_files
from tests.raster_files import encoded


def read(data, **options):
    """Returns (pixels, codes of the notices)."""
    found = notices.Notices()
    return raster.read_pixels(data, notices=found, **options), found.codes()


def refused(data):
    """Returns the code by which a film is refused."""
    with pytest.raises(InputError) as e:
        raster.read_pixels(data)
    assert e.value.fix
    return e.value.code


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (20, 30), np.uint8)


def test_grey_png_is_itself(image):
    np.testing.assert_array_equal(raster.read_pixels(encoded(image)), image)
    assert raster.size_of(encoded(image)) == (20, 30)


def test_grey_in_colour_is_grey_and_colour_is_refused(image):
    rgb = np.stack([image] * 3, axis=-1)
    np.testing.assert_array_equal(raster.read_pixels(encoded(rgb)), image)
    rgb[0, 0, 0] ^= 128
    with pytest.raises(InputError, match="DCM_COLOUR"):
        raster.read_pixels(encoded(rgb))


def test_sixteen_bits_are_scaled():
    image = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    expected = np.rint(image / 65535 * 255)
    np.testing.assert_array_equal(raster.read_pixels(encoded(image)), expected)


def test_jpeg(image):
    smooth = np.tile(np.arange(0, 240, 4, dtype=np.uint8), [20, 1])
    decoded = raster.read_pixels(encoded(smooth, "JPEG", quality=95))
    assert np.abs(decoded.astype(int) - smooth).max() <= 4


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_every_truncation_is_refused(image, kind):
    data = encoded(image, kind)
    for length in range(len(data)):
        with pytest.raises(InputError):
            raster.read_pixels(data[:length])


def test_no_image():
    for data, code in ((b"", "IMG_EMPTY"), (b"GIF89a", "IMG_NOT_IMAGE")):
        with pytest.raises(InputError, match=code):
            raster.read_pixels(data)
    with pytest.raises(InputError, match="IMG_CONSTANT"):
        raster.read_pixels(encoded(np.zeros((4, 4), np.uint8)))


def test_bomb_is_refused_before_decoding(monkeypatch, image):
    monkeypatch.setattr(raster.Picture, "decode", None)
    monkeypatch.setattr(raster, "MAX_PIXELS", 599)
    with pytest.raises(InputError, match="IMG_BOMB"):
        raster.read_pixels(encoded(image))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_exif_turns_as_pillow_does(image, kind, orientation):
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    data = encoded(image, kind, exif=exif)
    with PIL.Image.open(io.BytesIO(data)) as stored:
        expected = np.asarray(PIL.ImageOps.exif_transpose(stored))
    pixels, codes = read(data)
    np.testing.assert_array_equal(pixels, expected)
    assert raster.size_of(data) == expected.shape
    assert codes == (("EXIF_TURNED",) if orientation > 1 else ())


@pytest.mark.parametrize(
    "tags", [b"", b"II*\0", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\0\x01\x01\x12"]
)
def test_damaged_exif_counts_as_absent(image, tags):
    data = raster_files.with_chunk(encoded(image), b"eXIf", tags)
    pixels, codes = read(data)
    np.testing.assert_array_equal(pixels, image)
    assert codes == ()


def test_the_first_of_several_pictures_is_shown(image):
    other = PIL.Image.fromarray(image[::-1])
    options = {"save_all": True, "append_images": [other]}
    data = encoded(image, "MPO", quality=95, **options)
    first = encoded(image, "JPEG", quality=95)
    pixels, codes = read(data)
    assert raster.size_of(data) == image.shape
    np.testing.assert_array_equal(pixels, raster.read_pixels(first))
    assert codes == ("FIRST_PICTURE",)
    pixels, codes = read(encoded(image, **options))
    np.testing.assert_array_equal(pixels, image)
    assert codes == ("FIRST_PICTURE",)


def test_pixels_must_be_square(image):
    assert refused(encoded(image, dpi=(72, 144))) == "IMG_NOT_SQUARE"
    assert refused(encoded(image, "JPEG", dpi=(72, 144))) == "IMG_NOT_SQUARE"
    with pytest.raises(InputError, match="IMG_NOT_SQUARE"):
        raster.size_of(encoded(image, dpi=(72, 144)))
    for dpi in ((72, 72), (300, 301)):
        np.testing.assert_array_equal(
            raster.read_pixels(encoded(image, dpi=dpi)), image
        )


def test_rare_kinds_of_jpeg_are_named(image):
    lossless = raster_files.lossless_jpeg(image, 8)
    np.testing.assert_array_equal(raster.read_pixels(lossless), image)
    sequential = encoded(image, "JPEG")
    frame = sequential.index(b"\xff\xc0")
    for marker, bits, what in (
        (0xC1, 12, "a JPEG of 12 bits"),
        (0xC3, 16, "a lossless JPEG of 16 bits"),
        (0xC5, 8, "a hierarchical JPEG"),
        (0xC9, 8, "a JPEG with arithmetic coding"),
    ):
        data = bytearray(sequential)
        data[frame + 1], data[frame + 4] = marker, bits
        for use in (raster.size_of, raster.read_pixels):
            with pytest.raises(InputError, match="IMG_NO_DECODER") as e:
                use(bytes(data))
            assert e.value.reason == f"no decoder for {what}"


def test_a_lossless_jpeg_whose_code_ends_early_is_refused(image):
    """libjpeg gives no warning."""
    data = raster_files.lossless_jpeg(image, 8)
    np.testing.assert_array_equal(raster.read_pixels(data), image)
    end = data.rindex(b"\xff\xd9")
    longer = data[:end] + b"\x55" + data[end:]
    assert jpeg.decode(longer).shape == image.shape
    assert refused(longer) == "DCM_DAMAGED"


def test_a_jpeg_with_a_hole_is_refused(image):
    """Pillow makes half of such a film grey and does not complain."""
    large = np.kron(image, np.ones((8, 8), np.uint8))
    data = encoded(large, "JPEG")
    hole = len(data) // 2
    for length in (1, 8, 100):
        assert refused(data[:hole] + data[hole + length :]) == "IMG_DAMAGED"


def test_every_changed_byte_of_a_png_is_refused(image):
    data = encoded(image)
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 16
        assert refused(bytes(changed)) in (
            "IMG_DAMAGED",
            "IMG_TRUNCATED",
            "IMG_NOT_IMAGE",
        ), place


def test_a_png_with_right_check_sums_and_wrong_pixels_is_refused(image):
    png = png_stream.parse(encoded(image))
    rows = raster_files.png_rows(image)
    sound = raster_files.png(30, 20, 8, png_stream.GREY, rows)
    np.testing.assert_array_equal(raster.read_pixels(sound), image)
    assert png.first(b"IEND") == b""
    for wrong in (rows[:-1], rows + b"\0", rows[:-31], b""):
        data = raster_files.png(30, 20, 8, png_stream.GREY, wrong)
        assert refused(data) == "IMG_DAMAGED"
    for depth, colour in ((8, 1), (3, 0), (16, 3), (8, 7)):
        data = raster_files.png(30, 20, depth, colour, rows)
        assert refused(data) == "IMG_DAMAGED"
    for spoil in (raster_files.without_adler, raster_files.with_wrong_adler):
        assert refused(spoil(sound)) == "IMG_DAMAGED"


def test_kinds_of_chunks_and_their_order(image):
    data = encoded(image)
    # Unknown chunks that decoders may skip are skipped, others are refused.
    for name, code in ((b"abCd", None), (b"ABCD", "IMG_DAMAGED")):
        changed = raster_files.with_chunk(data, name, b"x")
        if code:
            assert refused(changed) == code
        else:
            np.testing.assert_array_equal(raster.read_pixels(changed), image)
    for header in (b"x" * 13, data[16:29]):
        twice = raster_files.with_chunk(data, b"IHDR", header)
        assert refused(twice) == "IMG_DAMAGED"
    # What follows the end is ignored.
    np.testing.assert_array_equal(raster.read_pixels(data + b"junk"), image)


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("side", [1, 3, 35, 40])
def test_grey_png_of_every_depth(depth, interlaced, side):
    """They are compared with OpenCV."""
    rng = np.random.default_rng(depth)
    row_bytes = -(-side * depth // 8)
    rows = b"".join(b"\0" + rng.bytes(row_bytes) for _ in range(side))
    if interlaced:
        rows = raster_files.interlaced_rows(side, depth, rng)
    data = raster_files.png(
        side, side, depth, png_stream.GREY, rows, interlaced=interlaced
    )
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(raster.open_picture(data).decode(), expected)


@pytest.mark.parametrize("deep", [False, True])
def test_alpha_is_left_out_with_a_notice(image, deep):
    scale, kind = (257, np.uint16) if deep else (1, np.uint8)
    values = image.astype(kind) * kind(scale)
    opaque = np.full_like(values, np.iinfo(kind).max)
    for channels in (1, 3):
        colour = {1: png_stream.GREY_ALPHA, 3: png_stream.RGB_ALPHA}[channels]
        for alpha, codes in ((opaque, ()), (opaque - 1, ("ALPHA_IGNORED",))):
            data = raster_files.png_of(np.dstack([values] * channels + [alpha]), colour)
            pixels, found = read(data)
            np.testing.assert_array_equal(pixels, image)
            assert found == codes


@pytest.mark.parametrize("depth", [1, 4, 8, 16])
def test_one_transparent_value(depth):
    side = 16
    rng = np.random.default_rng(0)
    rows = b"".join(b"\0" + rng.bytes(side * depth // 8) for _ in range(side))
    plain = raster_files.png(side, side, depth, png_stream.GREY, rows)
    grey = raster.open_picture(plain).decode()
    key = int(grey[3, 5]) * ((1 << depth) - 1) // np.iinfo(grey.dtype).max
    data = raster_files.with_chunk(plain, b"tRNS", key.to_bytes(2, "big"))
    values, alpha = np.moveaxis(raster.open_picture(data).decode(), -1, 0)
    np.testing.assert_array_equal(values, grey)
    np.testing.assert_array_equal(alpha == 0, grey == grey[3, 5])


def test_palette_of_greys_is_grey(image):
    grey = PIL.Image.fromarray(image).convert("P")
    grey.putpalette([255 - v // 3 for v in range(768)])
    pixels, _ = read(raster_files.saved(grey))
    np.testing.assert_array_equal(pixels, 255 - image)
    grey.putpalette([v % 256 for v in range(0, 768 * 7, 7)])
    assert refused(raster_files.saved(grey)) == "DCM_COLOUR"


def test_cmyk_of_black_ink_is_grey(image):
    """Pillow converts it by itself."""
    smooth = np.tile(np.arange(0, 240, 4, dtype=np.uint8), [20, 1])
    inks = np.dstack([smooth * 0] * 3 + [smooth])
    stream = raster_files.saved(PIL.Image.fromarray(inks, "CMYK"), "JPEG")
    with PIL.Image.open(io.BytesIO(stream)) as stored:
        expected = np.asarray(stored.convert("L"))
    assert np.abs(jpeg.decode(stream)[:, :, 1].astype(int) - expected).max() <= 1
    assert np.ptp(raster.read_pixels(stream)) > 200


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_percentile_window(kind):
    values = np.tile(np.linspace(60, 180, 256).astype(np.uint8), [64, 1])
    data = encoded(values, kind)
    first, percentile = (
        raster.read_pixels(data, voi=v) for v in ("first", "percentile")
    )
    np.testing.assert_array_equal(first, raster.read_pixels(data, voi="none"))
    assert np.ptp(first) < 130
    assert (percentile.min(), percentile.max()) == (0, 255)
