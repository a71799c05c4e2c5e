"""The graph's square image of a film equals the converter's, bit for bit."""

import functools

import cv2
import numpy as np
import pytest
import skimage.data
import tensorflow as tf

from data_prep.build import image_records
from data_prep.core.errors import CommandError
from data_prep.core.errors import ConfigError
from data_prep.phantom import phantom
from inference.artefact import grey_square

OPENCV = "opencv(clip_limit=2.0, tiles=8)"


@functools.cache
def in_graph(size, interpolation="area", aspect="stretch", clahe="none()"):
    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.uint8)])
    def run(grey):
        shape = tf.shape(grey)
        return grey_square.square(
            grey,
            shape[0],
            shape[1],
            size=size,
            interpolation=interpolation,
            aspect=aspect,
            clahe=clahe,
        )

    return run


def converted(image, size, interpolation="area", aspect="stretch", clahe="none()"):
    pixels = image_records.Pixels(
        sizes=(size,),
        aspect=aspect,
        interpolation=interpolation,
        clahe=clahe,
        voi="first",
        frame=None,
        dicom_decoder="own",
        pixel_encoding="png",
    )
    return image_records.prepare(image, size, pixels)


def check(image, *options):
    np.testing.assert_array_equal(
        in_graph(*options)(image).numpy(), converted(image, *options)
    )


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)


@functools.cache
def films():
    drawn = phantom.draw(np.random.default_rng(3), size=256, pneumothorax=True).image
    camera = skimage.data.camera()
    coins = skimage.data.coins()
    bright = np.full((192, 192), 255, np.uint8)
    return [noise(256, 192), drawn, camera, coins, coins[:200].T.copy(), bright]


@pytest.mark.parametrize("aspect", ["pad", "stretch"])
@pytest.mark.parametrize("interpolation", ["area", "linear"])
def test_films_equal_the_converters(interpolation, aspect):
    for film in films():
        check(film, 64, interpolation, aspect, OPENCV)


# Halves and other whole cells, cut cells, enlarged sides, one of each, hardly any.
SHAPES = [(128, 128), (192, 192), (256, 128), (64, 192), (320, 320), (64, 64)]
SHAPES += [(100, 130), (257, 300), (65, 64), (129, 127), (1021, 67)]
SHAPES += [(32, 32), (50, 60), (16, 64), (63, 65), (100, 50), (33, 129), (1, 1)]


@pytest.mark.parametrize("interpolation", ["area", "linear"])
def test_every_ratio_of_sides(interpolation):
    for shape in SHAPES:
        check(noise(*shape), 64, interpolation)


@pytest.mark.parametrize("size", [48, 65, 100])
@pytest.mark.parametrize(
    "clahe", ["opencv(0.1, 8)", "opencv(40.0, 3)", "opencv(2.5, tiles=1)", OPENCV]
)
def test_equalisation_of_sides_that_tiles_may_not_divide(size, clahe):
    ramp = np.add.outer(np.arange(size), np.arange(size)) // 3
    few = np.random.default_rng(1).integers(0, 3, (size, size)) * 90
    for image in (noise(size, size), ramp.astype(np.uint8), few.astype(np.uint8)):
        check(image, size, "area", "stretch", clahe)


def test_a_large_film_at_the_usual_size():
    film = cv2.resize(skimage.data.camera(), (1030, 1100)) ^ noise(1100, 1030) >> 5
    check(np.ascontiguousarray(film[:1024, :1024]), 512, "area", "pad", OPENCV)
    check(film, 512, "area", "pad", OPENCV)


def test_a_share_below_a_thousandth_is_left_out():
    check(noise(1025, 1026), 1024)


def test_what_the_graph_cannot_do_is_refused():
    with pytest.raises(CommandError, match="--clahe=skimage"):
        grey_square.equalizer("skimage(0.02)")
    with pytest.raises(ConfigError, match="Unknown CLAHE method"):
        grey_square.equalizer("other")
