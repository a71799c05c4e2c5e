"""Reads the facts of a PNG file in a TensorFlow graph.

It walks the chunks as data_prep/pixels/png_stream.py does. The check sums of the
compressed pixels are left to the decoder, which refuses wrong ones.
"""

import tensorflow as tf

from inference.artefact import byte_reading
from inference.artefact import film_facts
from inference.artefact import png_checksum
from inference.artefact.film_facts import Facts

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _GREY_ALPHA = 0, 4
# A walk of more steps would take seconds; usual files have a dozen.
_MOST_STEPS = 4096


def read(data: tf.Tensor) -> Facts:
    """Reads the facts of a file that starts with SIGNATURE.

    Args:
      data: [N] uint8, the file.
    """
    found = _walk(data)
    header = byte_reading.Place(data, 16)
    width, height = header.integer(0, 4), header.integer(4, 4)
    depth, colour = header.integer(8, 1), header.integer(9, 1)
    density = tf.where(
        found["pHYs"] >= 0,
        [
            byte_reading.Place(data, found["pHYs"]).integer(0, 4),
            byte_reading.Place(data, found["pHYs"]).integer(4, 4),
        ],
        [0, 0],
    )
    error = film_facts.first_of(
        [
            (found["cut"], "the file is cut short"),
            (found["wrong"], "the check sum of a chunk is wrong"),
            (found["steps"] >= _MOST_STEPS, f"the file has over {_MOST_STEPS} chunks"),
        ]
    )
    is_grey = (colour == _GREY) | (colour == _GREY_ALPHA)
    return Facts(
        error=error,
        height=height,
        width=width,
        channels=tf.where(is_grey, 1, 3),
        bits=depth,
        density=density,
        exif_start=found["eXIf"],
        exif_end=found["eXIf_end"],
    )


def _walk(data: tf.Tensor) -> dict[str, tf.Tensor]:
    """Finds the chunks that tell something; -1 stands for none."""
    size = tf.size(data)

    def step(state):
        place = byte_reading.Place(data, state["place"])
        length, name = place.integer(0, 4), place.integer(4, 4)
        end = state["place"] + 12 + length
        cut = (length < 0) | (length > size - state["place"] - 12)
        is_pixels = name == _number(b"IDAT")
        end = tf.cond(
            is_pixels & ~cut,
            lambda: _end_of_alike(data, state["place"], length),
            lambda: end,
        )
        body = state["place"] + 8
        checks = ~cut & ~is_pixels
        wrong = tf.cond(
            checks,
            lambda: png_checksum.is_wrong(data, body - 4, body + length),
            lambda: tf.constant(False),
        )
        is_exif = (name == _number(b"eXIf")) & (state["eXIf"] < 0)
        is_density = (name == _number(b"pHYs")) & (state["pHYs"] == -1)
        # -2 is a first chunk that tells nothing.
        density = tf.where(length == 9, body, -2)
        return [
            {
                "place": end,
                "steps": state["steps"] + 1,
                "cut": cut,
                "wrong": wrong,
                "done": cut | wrong | (name == _number(b"IEND")),
                "eXIf": tf.where(is_exif, body, state["eXIf"]),
                "eXIf_end": tf.where(is_exif, body + length, state["eXIf_end"]),
                "pHYs": tf.where(is_density, density, state["pHYs"]),
            }
        ]

    start = {
        "place": tf.constant(len(SIGNATURE)),
        "steps": tf.constant(0),
        "cut": tf.constant(False),
        "wrong": tf.constant(False),
        "done": tf.constant(False),
        "eXIf": tf.constant(-1),
        "eXIf_end": tf.constant(-1),
        "pHYs": tf.constant(-1),
    }
    return tf.while_loop(
        lambda state: ~state["done"] & (state["steps"] < _MOST_STEPS),
        step,
        [start],
        parallel_iterations=1,
    )[0]


def _end_of_alike(data: tf.Tensor, start: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
    """Returns where the chunks end that follow each other with the same head.

    Pixels come in hundreds of chunks of the same length; one step passes them all.
    """
    stride = length + 12
    starts = tf.range(start, tf.size(data) - stride + 1, stride)
    heads = tf.gather(data, starts[:, tf.newaxis] + tf.range(8))
    is_alike = tf.reduce_all(heads == heads[0], axis=1)
    # The first that differs, or their number.
    count = tf.argmin(
        tf.concat([tf.cast(is_alike, tf.int32), [0]], axis=0), output_type=tf.int32
    )
    return start + count * stride


def _number(name: bytes) -> int:
    return int.from_bytes(name, "big")
