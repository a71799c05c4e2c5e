"""Reads the facts of a JPEG file in a TensorFlow graph.

It walks the segments before the first scan as data_prep/pixels/jpeg_header.py does.
"""

import tensorflow as tf

from inference.artefact import byte_reading
from inference.artefact import film_facts
from inference.artefact.film_facts import Facts

SIGNATURE = b"\xff\xd8\xff"
# A walk of more steps would take seconds; usual files have a dozen.
_MOST_STEPS = 4096
_CUT = "the file is cut short"
_NO_MARKER = "the JPEG is damaged: a marker is missing"
# Bytes of a segment from its marker to the end of the longest name below.
_HEAD = 10
_JFIF, _EXIF = b"JFIF\0", b"Exif\0\0"


def read(data: tf.Tensor) -> Facts:
    """Reads the facts of a file that starts with SIGNATURE.

    Args:
      data: [N] uint8, the file.
    """
    found = _walk(data)
    frame = byte_reading.Place(data, found["frame"])
    bits, channels = frame.integer(0, 1), frame.integer(5, 1)
    height, width = frame.integer(1, 2), frame.integer(3, 2)
    jfif = byte_reading.Place(data, found["jfif"])
    density = [jfif.integer(8, 2), jfif.integer(10, 2)]

    process = found["process"]
    is_hierarchical = tf.reduce_any(process == [0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF])
    error = film_facts.first_of(
        [
            (found["error"] != "", found["error"]),
            (
                found["steps"] >= _MOST_STEPS,
                f"the file has over {_MOST_STEPS} segments",
            ),
            (
                (found["frame"] < 0) | (found["frame_length"] < 6),
                "the JPEG is damaged: it has no frame header",
            ),
            ((height == 0) | (width == 0), "the JPEG is damaged: it has no pixel"),
            (is_hierarchical, "no decoder for a hierarchical JPEG"),
            (process > 0xC8, "no decoder for a JPEG with arithmetic coding"),
            (process == 0xC3, "no decoder for a lossless JPEG"),
            (bits != 8, "no decoder for a JPEG of other than 8 bits"),
        ]
    )
    return Facts(
        error=error,
        height=height,
        width=width,
        channels=tf.where(channels == 1, 1, 3),
        bits=bits,
        density=tf.where(found["jfif"] < 0, [0, 0], density),
        exif_start=found["exif"],
        exif_end=found["exif_end"],
    )


def _walk(data: tf.Tensor) -> dict[str, tf.Tensor]:
    """Finds the segments that tell something; -1 stands for none."""
    size = tf.size(data)

    def step(state):
        start = state["place"]
        places = tf.clip_by_value(start + tf.range(_HEAD), 0, size - 1)
        head = tf.cast(tf.gather(data, places), tf.int32)
        first, marker, length = head[0], head[1], head[2] * 256 + head[3]
        is_short = size - start < 2
        is_fill = (first == 0xFF) & (marker == 0xFF)
        is_alone = (marker == 0x01) | ((marker >= 0xD0) & (marker <= 0xD7))
        is_last = (marker == 0xD9) | (marker == 0xDA)
        has_body = (first == 0xFF) & ~is_fill & ~is_alone & ~is_last
        is_short |= has_body & ((length < 2) | (length > size - start - 2))
        error = tf.where(first == 0xFF, "", _NO_MARKER)
        error = tf.where(is_short, _CUT, error)
        body, end = start + 4, start + 2 + length
        is_frame = (marker >= 0xC0) & (marker <= 0xCF)
        is_frame &= tf.reduce_all(marker != [0xC4, 0xC8, 0xCC])
        is_frame &= has_body & (state["frame"] < 0)
        is_jfif = has_body & (marker == 0xE0) & _starts(head, length, _JFIF)
        is_jfif &= length - 2 >= 12
        is_exif = has_body & (marker == 0xE1) & _starts(head, length, _EXIF)
        is_exif &= state["exif"] < 0
        after = tf.where(has_body, end, start + tf.where(is_fill, 1, 2))
        return [
            {
                "place": after,
                "steps": state["steps"] + 1,
                "error": error,
                "done": (error != "") | is_last,
                "frame": tf.where(is_frame, body, state["frame"]),
                "frame_length": tf.where(is_frame, length - 2, state["frame_length"]),
                "process": tf.where(is_frame, marker, state["process"]),
                "jfif": tf.where(is_jfif, body, state["jfif"]),
                "exif": tf.where(is_exif, body + len(_EXIF), state["exif"]),
                "exif_end": tf.where(is_exif, end, state["exif_end"]),
            }
        ]

    none = tf.constant(-1)
    start = {
        "place": tf.constant(2),
        "steps": tf.constant(0),
        "error": tf.constant(""),
        "done": tf.constant(False),
        "frame": none,
        "frame_length": none,
        "process": none,
        "jfif": none,
        "exif": none,
        "exif_end": none,
    }
    return tf.while_loop(
        lambda state: ~state["done"] & (state["steps"] < _MOST_STEPS),
        step,
        [start],
        parallel_iterations=1,
    )[0]


def _starts(head: tf.Tensor, length: tf.Tensor, name: bytes) -> tf.Tensor:
    """Returns whether a segment's contents start with a name."""
    is_named = tf.reduce_all(head[4 : 4 + len(name)] == list(name))
    return is_named & (length - 2 >= len(name))
