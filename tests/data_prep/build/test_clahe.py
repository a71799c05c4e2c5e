import cv2
import numpy as np
import pytest
from skimage import exposure

from data_prep.build import clahe
from data_prep.phantom import phantom


def film(size=256):
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:size, :size] / size
    image = 120 + 80 * np.sin(3 * x) * np.cos(4 * y) + rng.normal(0, 6, (size, size))
    return np.clip(image, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("text", ["opencv(clip_limit=2.0, tiles=8)", "skimage", "none"])
def test_contract(text):
    equalised = clahe.parse(text)(film())
    assert equalised.shape == (256, 256)
    assert equalised.dtype == np.uint8


def test_none_is_identity_and_the_others_are_not():
    np.testing.assert_array_equal(clahe.parse("none")(film()), film())
    assert (clahe.parse("opencv")(film()) != film()).mean() > 0.5


@pytest.fixture(scope="module")
def phantoms():
    """Synthetic X-rays of 1024 pixels."""
    rng = np.random.default_rng(0)
    return [
        phantom.draw(rng, size=1024, pneumothorax=k % 2 == 0).image for k in range(4)
    ]


@pytest.mark.parametrize("size", [256, 512])
def test_opencv_is_near_to_scikit_image(phantoms, size):
    """Compares the default with the 2019 solution's images.

    On eight real X-rays they differed by 3.4 grey levels at 256 and 2.4 at 512 px.
    """
    skimage = clahe.parse("skimage(clip_limit=0.01)")

    def difference(clip_limit):
        opencv = clahe.parse(f"opencv(clip_limit={clip_limit}, tiles=8)")
        differences, correlations = [], []
        for image in phantoms:
            small = clahe.resize_image(image, size, "linear")
            equalised, expected = (
                opencv(small).astype(float),
                skimage(small).astype(float),
            )
            differences.append(np.abs(equalised - expected).mean())
            correlations.append(np.corrcoef(equalised.ravel(), expected.ravel())[0, 1])
        return np.mean(differences), min(correlations)

    mean, correlation = difference(2.0)
    assert mean < 5
    assert correlation > 0.99
    assert mean < min(difference(1.0)[0], difference(4.0)[0])


def test_scikit_image_form_is_that_of_the_2019_images(phantoms):
    made = cv2.resize(phantoms[0], (256, 256))
    made = (exposure.equalize_adapthist(made) * 255).clip(0, 255).astype(np.uint8)
    small = clahe.resize_image(phantoms[0], 256, "linear")
    np.testing.assert_array_equal(clahe.parse("skimage")(small), made)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sharpen", r"Unknown CLAHE method. Expected one of \['none', 'opencv'"),
        ("opencv(clip_limit=0)", "Expected clip_limit > 0 .* Received: clip_limit=0"),
        ("opencv(tiles=0)", "Expected clip_limit > 0 .*, tiles=0"),
        ("opencv(x=1)", r"Arguments of CLAHE method 'opencv\(x=1\)' do not fit"),
    ],
)
def test_faults(text, message):
    with pytest.raises(ValueError, match=message):
        clahe.parse(text)


def test_mask_is_neither_dilated_nor_shifted():
    mask = np.zeros((1024, 1024), np.uint8)
    mask[100:300, 400:480] = 1
    small = clahe.resize_mask(mask, 256)
    expected = np.zeros((256, 256), np.uint8)
    expected[25:75, 100:120] = 1
    np.testing.assert_array_equal(small, expected)
    # A single pixel is far below half of a 4 x 4 cell.
    mask[:] = 0
    mask[512, 512] = 1
    assert not clahe.resize_mask(mask, 256).any()


def test_image_resize():
    image = np.arange(0, 128, 2, dtype=np.uint8).reshape(8, 8)
    assert clahe.resize_image(image, 8, "area") is image
    assert clahe.resize_image(image, 4, "area")[0, 0] == (0 + 2 + 16 + 18) / 4


@pytest.mark.parametrize("size", [32, 64, 96, 128, 192, 224, 384])
def test_mask_shrinks_by_the_share_of_its_area(size):
    """Shares of whole and of fractional source pixels equal a float average."""
    rng = np.random.default_rng(size)
    noise = rng.random((16, 16)).astype(np.float32)
    mask = (cv2.resize(noise, (384, 384)) > 0.5).astype(np.uint8)
    share = cv2.resize(
        mask.astype(np.float32), (size, size), interpolation=cv2.INTER_AREA
    )
    expected = share >= 0.5
    np.testing.assert_array_equal(clahe.resize_mask(mask, size), expected)
    np.testing.assert_array_equal(clahe.resize_mask(mask.T, size), expected.T)
