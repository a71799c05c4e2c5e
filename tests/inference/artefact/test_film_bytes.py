"""The graph decodes a file to the converter's pixels, and refuses what it refuses."""

import functools

import hypothesis
import numpy as np
import PIL.Image
import pytest
import skimage.data
import tensorflow as tf
from hypothesis import strategies

from data_prep.core.errors import InputError
from data_prep.pixels import png_stream
from data_prep.pixels import raster
from inference.artefact import film_bytes
from tests import odd_files
from tests import raster_files
from tests.raster_files import encoded


@functools.cache
def in_graph(voi="first"):
    signature = [tf.TensorSpec([], tf.string)]
    return tf.function(functools.partial(film_bytes.decode, voi=voi), signature)


def decoded(data, voi="first"):
    """Returns (pixels, error) after checking what they have in common."""
    film = in_graph(voi)(data)
    error = film.error.numpy().decode()
    assert (int(film.height), int(film.width)) == film.grey.shape
    if error:
        assert film.grey.numpy().tolist() == [[0]]
    return film.grey.numpy(), error


def check(data, voi="first"):
    """Compares with the converter; returns the error."""
    pixels, error = decoded(data, voi)
    try:
        expected, reason = raster.read_pixels(data, voi=voi), ""
    except InputError as e:
        expected = np.zeros((1, 1), np.uint8)
        # Of a decoder that raises, all that is known is that it did.
        damaged = e.code in ("IMG_DAMAGED", "IMG_TRUNCATED") and error
        reason = error if damaged else e.reason
    assert error == reason
    np.testing.assert_array_equal(pixels, expected)
    return error


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (20, 30), np.uint8)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_jpeg(progressive, subsampling):
    camera = skimage.data.camera()[:203, :301]
    options = {"progressive": progressive, "quality": 85}
    check(encoded(camera, "JPEG", **options))
    colours = np.stack([camera] * 3, axis=-1)
    check(encoded(colours, "JPEG", subsampling=subsampling, **options))
    colour = skimage.data.astronaut()[:99, :99]
    error = check(encoded(colour, "JPEG", subsampling=subsampling, **options))
    assert error == "the image is coloured"


@pytest.mark.parametrize("side", [8, 35, 40])
@pytest.mark.parametrize("colour", [0, 2, 3, 4, 6])
def test_png_of_every_kind(colour, side):
    for depth in png_stream._DEPTHS[colour]:
        rng = np.random.default_rng(depth)
        bits = depth * png_stream._CHANNELS[colour]
        rows = b"".join(b"\0" + rng.bytes(-(-side * bits // 8)) for _ in range(side))
        data = raster_files.png(side, side, depth, colour, rows)
        if colour == png_stream.PALETTE:
            greys = np.repeat(rng.integers(0, 256, 2**depth, np.uint8), 3)
            data = raster_files.with_chunk(data, b"PLTE", greys.tobytes())
        check(data)
        if colour == png_stream.GREY:
            check(raster_files.with_chunk(data, b"tRNS", b"\0\1"))
            rows = raster_files.interlaced_rows(side, depth, rng)
            check(raster_files.png(side, side, depth, 0, rows, interlaced=True))


@pytest.mark.parametrize("voi", ["first", "percentile"])
def test_grey_values(image, voi):
    colours = np.dstack([image // 2 + np.uint8(k) for k in range(3)])
    assert not check(encoded(colours), voi)
    for most in (100, 255, 4095, 16383, 16384, 65535):
        deep = np.random.default_rng(1).integers(0, most + 1, (90, 71))
        deep[0, 0] = most
        check(encoded(deep.astype(np.uint16)), voi)
        wide = np.dstack([deep] * 3).astype(np.uint16)
        check(raster_files.png_of(wide, png_stream.RGB), voi)
    check(encoded(np.minimum(image, 200) // 2 + np.uint8(30)), voi)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_exif_turns(image, kind):
    for orientation in range(1, 10):
        exif = PIL.Image.Exif()
        exif[0x010F] = "maker"
        exif[0x0112] = orientation
        check(encoded(image, kind, exif=exif))
    with_big_ends = b"MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0\6\0\0"
    turned = raster_files.with_chunk(encoded(image), b"eXIf", with_big_ends)
    assert decoded(turned)[0].shape == (30, 20)
    check(turned)
    for end in range(len(with_big_ends)):
        check(raster_files.with_chunk(encoded(image), b"eXIf", with_big_ends[:end]))
    far = b"II*\0\xff\xff\xff\xff"
    check(raster_files.with_chunk(encoded(image), b"eXIf", far))


def test_what_is_no_film_is_told_in_words(image):
    assert check(b"") == "the file has no byte"
    for data, _ in (odd_files.REFUSED | odd_files.OTHERS).values():
        assert check(data)
    assert check(encoded(image * 0)) == "every pixel is the same"
    assert check(encoded(image // 16)) == "fewer than 32 grey levels"
    for kind in ("PNG", "JPEG"):
        not_square = encoded(image, kind, dpi=(72, 144))
        assert "not square" in check(not_square)
        assert not check(encoded(image, kind, dpi=(300, 301)))
    assert "over" in check(raster_files.png(30000, 30000, 8, 0, b""))
    data = bytearray(encoded(image, "JPEG"))
    frame = data.index(b"\xff\xc0")
    for marker in (0xC5, 0xC9):
        data[frame + 1] = marker
        assert "no decoder" in check(bytes(data))
    lossless = raster_files.lossless_jpeg(image, 8)
    assert decoded(lossless)[1] == "no decoder for a lossless JPEG"


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_truncations(image, kind):
    data = encoded(image, kind)
    for length in [*range(0, len(data) - 40, 23), *range(len(data) - 16, len(data))]:
        assert check(data[:length])


def test_changed_bytes_of_a_png(image):
    text = raster_files.with_chunk(encoded(image), b"tEXt", b"Title\0film")
    assert not check(text + b"junk")
    rng = np.random.default_rng(0)
    places = [*range(0, 70), *rng.integers(70, len(text), 30), *range(-16, 0)]
    for place in places:
        changed = bytearray(text)
        changed[place] ^= 16
        assert check(bytes(changed)), place
    for spoil in (raster_files.without_adler, raster_files.with_wrong_adler):
        assert check(spoil(encoded(image)))
    for name in (b"abCd", b"ABCD"):
        check(raster_files.with_chunk(encoded(image), name, b"x"))
    many = encoded(image)
    for _ in range(5):
        many = raster_files.with_chunk(many, b"tEXt", bytes(1000))
    assert not check(many)


def test_pixels_in_many_chunks(image):
    png = png_stream.parse(encoded(image))
    packed = png.first(b"IDAT")
    for size in (1, 7, 100):
        parts = [packed[k : k + size] for k in range(0, len(packed), size)]
        chunks = [raster_files.chunk(b"IDAT", part) for part in parts]
        head, end = encoded(image)[:33], raster_files.chunk(b"IEND", b"")
        exif = raster_files.chunk(b"eXIf", b"II*\0" + bytes(20))
        assert not check(head + b"".join(chunks) + exif + end)
        chunks[-1] = chunks[-1][:-1] + bytes([chunks[-1][-1] ^ 1])
        assert check(head + b"".join(chunks) + end)


def test_a_bad_film_leaves_the_others_of_a_batch(image):
    files = tf.constant([encoded(image), b"bad", encoded(image, "JPEG")[:-30], b""])

    @tf.function
    def run(files):
        def most_and_error(data):
            film = in_graph()(data)
            return tf.reduce_max(film.grey), film.error

        spec = (tf.TensorSpec([], tf.uint8), tf.TensorSpec([], tf.string))
        return tf.map_fn(most_and_error, files, fn_output_signature=spec)

    most, errors = run(files)
    assert most.numpy().tolist() == [image.max(), 0, 0, 0]
    assert [bool(e) for e in errors.numpy()] == [False, True, True, True]


@hypothesis.settings(max_examples=60, deadline=None, derandomize=True)
@hypothesis.given(
    strategies.sampled_from([b"", png_stream.SIGNATURE, b"\xff\xd8\xff", b"\xff\xd8"]),
    strategies.binary(max_size=80),
)
def test_arbitrary_bytes_do_not_raise(start, rest):
    assert check(start + rest)
