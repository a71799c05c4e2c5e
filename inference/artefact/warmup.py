"""Requests that TensorFlow Serving runs before it says that a model is ready.

They are a TFRecord of PredictionLog messages in assets.extra/. Their definitions are in
the package tensorflow-serving-api, which would bring a second gRPC for four small
messages; so the fields are written here by hand, around TensorFlow's own TensorProto:

    PredictionLog   predict_log = 6: PredictLog
    PredictLog      request = 1: PredictRequest
    PredictRequest  model_spec = 1: ModelSpec;  inputs = 2: map<string, TensorProto>
    ModelSpec       name = 1: string;  signature_name = 3: string

Source: tensorflow/serving, prediction_log.proto, predict.proto and model.proto in
tensorflow_serving/apis/.
"""

import pathlib
from collections.abc import Iterable

import cv2
import numpy as np
import tensorflow as tf

from data_prep.phantom import phantom

FILE_NAME = "tf_serving_warmup_requests"
_LENGTH_DELIMITED = 2


def write(path: pathlib.Path, requests: Iterable[bytes]) -> None:
    """Writes what `request` returned."""
    with tf.io.TFRecordWriter(str(path)) as writer:
        for data in requests:
            writer.write(data)


def request(model: str, signature: str, inputs: dict[str, np.ndarray]) -> bytes:
    """Returns a serialised PredictionLog of one request.

    Args:
      model: name under which the model is served.
      signature: name of the signature.
      inputs: {name of an input: its value; of object dtype for strings}.
    """
    spec = _field(1, model.encode()) + _field(3, signature.encode())
    of_predict = _field(1, spec)
    for name, value in inputs.items():
        tensor = tf.make_tensor_proto(value).SerializeToString(deterministic=True)
        # An entry of a map is a message with key = 1 and value = 2.
        of_predict += _field(2, _field(1, name.encode()) + _field(2, tensor))
    return _field(6, _field(1, of_predict))


def film(size: int, seed: int = 0) -> bytes:
    """Returns a synthetic film of size x size pixels as a PNG file."""
    image = phantom.draw(np.random.default_rng(seed), size=size, pneumothorax=True)
    return cv2.imencode(".png", image.image)[1].tobytes()


def _field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | _LENGTH_DELIMITED) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])
