"""Reads the facts of a JPEG file in a TensorFlow graph.

It walks the segments before the first scan as data_prep/pixels/jpeg_header.py does.
"""

import tensorflow as tf

from inference.artefact import byte_reading
from inference.artefact.film_facts import Facts

SIGNATURE = b"\xff\xd8\xff"
# A walk of more steps would take seconds; usual files have a dozen.
_MOST_STEPS = 4096
_CUT = "the file is cut short"
_NO_MARKER = "the JPEG is damaged: a marker is missing"
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

    def text(words: str):
        return lambda: tf.constant(words)

    process = found["process"]
    error = tf.case(
        [
            (found["error"] != "", lambda: found["error"]),
            (
                found["steps"] >= _MOST_STEPS,
                text(f"the file has over {_MOST_STEPS} segments"),
            ),
            (
                (found["frame"] < 0) | (found["frame_length"] < 6),
                text("the JPEG is damaged: it has no frame header"),
            ),
            (
                (height == 0) | (width == 0),
                text("the JPEG is damaged: it has no pixel"),
            ),
            (
                tf.reduce_any(process == [0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF]),
                text("no decoder for a hierarchical JPEG"),
            ),
            (process > 0xC8, text("no decoder for a JPEG with arithmetic coding")),
            (process == 0xC3, text("no decoder for a lossless JPEG")),
            (bits != 8, text("no decoder for a JPEG of other than 8 bits")),
        ],
        default=text(""),
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
        head = byte_reading.Place(data, start)
        first, marker, length = head.integer(0, 1), head.integer(1, 1), 0
        is_short = size - start < 2
        is_fill = (first == 0xFF) & (marker == 0xFF)
        is_alone = (marker == 0x01) | ((marker >= 0xD0) & (marker <= 0xD7))
        is_last = (marker == 0xD9) | (marker == 0xDA)
        has_body = (first == 0xFF) & ~is_fill & ~is_alone & ~is_last
        length = head.integer(2, 2)
        is_short |= has_body & ((length < 2) | (length > size - start - 2))
        error = tf.where(first == 0xFF, "", _NO_MARKER)
        error = tf.where(is_short, _CUT, error)
        body, end = start + 4, start + 2 + length
        is_frame = (marker >= 0xC0) & (marker <= 0xCF)
        is_frame &= tf.reduce_all(marker != [0xC4, 0xC8, 0xCC])
        is_frame &= has_body & (state["frame"] < 0)
        is_jfif = has_body & (marker == 0xE0) & _starts(data, body, end, _JFIF)
        is_jfif &= length - 2 >= 12
        is_exif = has_body & (marker == 0xE1) & _starts(data, body, end, _EXIF)
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


def _starts(data: tf.Tensor, start: tf.Tensor, end: tf.Tensor, with_: bytes):
    places = start + tf.range(len(with_))
    taken = tf.gather(data, tf.clip_by_value(places, 0, tf.size(data) - 1))
    return tf.reduce_all(taken == list(with_)) & (end - start >= len(with_))
