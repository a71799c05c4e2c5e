"""The pictures of a film say what the film, its mask and its map say."""

import io

import cv2
import numpy as np
import PIL.Image

from inference.report import film_pictures


def colors(data: bytes) -> np.ndarray:
    """Decodes a picture to [H, W, 4] uint8, red first, with alpha."""
    return np.asarray(PIL.Image.open(io.BytesIO(data)).convert("RGBA"))


def test_the_film_keeps_its_grey_values():
    image = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
    seen = cv2.imdecode(np.frombuffer(film_pictures.film(image), np.uint8), -1)
    np.testing.assert_array_equal(seen, image)


def test_a_mask_is_one_bit_and_transparent_outside():
    mask = np.zeros((24, 40), np.uint8)
    mask[3:9, 5:30] = 1
    data = film_pictures.mask(mask, 64)
    # The depth in the header of a PNG.
    assert data[24] == 1
    seen = colors(data)
    np.testing.assert_array_equal(seen[..., 3], mask * 255)
    assert seen[4, 6, :3].tolist() == [255, 130, 40]


def test_a_large_mask_is_shrunk_and_keeps_a_lesion_of_one_pixel():
    mask = np.zeros((3000, 1500), np.uint8)
    mask[2000, 700] = 1
    seen = colors(film_pictures.mask(mask, 256))[..., 3]
    assert seen.shape == (1024, 512)
    rows, columns = np.nonzero(seen)
    assert abs(rows - 2000 * 1024 / 3000).max() <= 1
    assert abs(columns - 700 * 512 / 1500).max() <= 1
    assert colors(film_pictures.mask(mask, 4096)).shape == (3000, 1500, 4)
    assert not colors(film_pictures.mask(0 * mask, 256))[..., 3].any()


def test_heat_is_unseen_at_0_and_red_at_1():
    values = np.linspace(0, 1, 64).astype(np.float16).reshape(8, 8)
    seen = colors(film_pictures.heat(values)).reshape(64, 4).astype(int)
    assert seen[0].tolist() == [40, 60, 200, 0]
    assert seen[-1].tolist() == [255, 40, 0, 255]
    assert (np.diff(seen[:, 3]) >= 0).all()
    assert (seen[17:, 3] == 255).all()


def test_the_small_picture_has_the_shape_that_the_film_had():
    image, mask = np.full((64, 64), 90, np.uint8), np.zeros((200, 100), np.uint8)
    mask[50:150, 25:75] = 1
    seen = colors(film_pictures.thumb(image, mask, ratio=0.5)).astype(int)
    assert seen.shape == (160, 80, 4)
    redness = seen[..., 0] - seen[..., 2]
    # The outline, but neither what it encloses nor what is outside.
    assert redness[80, 18:24].max() > 30
    assert abs(redness[80, 40]) < 20
    assert abs(redness[10, 40]) < 20
    assert colors(film_pictures.thumb(image, mask, ratio=1)).shape == (160, 160, 4)
