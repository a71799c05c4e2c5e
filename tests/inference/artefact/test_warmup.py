"""The hand-written warm-up requests are messages of TensorFlow Serving."""

import numpy as np
import tensorflow as tf
from google.protobuf import descriptor_pb2
from google.protobuf import descriptor_pool
from google.protobuf import message_factory
from tensorflow.core.framework import tensor_pb2

from inference.artefact import saved_model
from inference.artefact import warmup

_PACKAGE = "tensorflow.serving"
# {message: {field: (number, type)}}, as in TensorFlow Serving's own files.
_MESSAGES = {
    "ModelSpec": {"name": (1, "string"), "signature_name": (3, "string")},
    "InputsEntry": {"key": (1, "string"), "value": (2, "bytes")},
    "PredictRequest": {"model_spec": (1, "ModelSpec"), "inputs": (2, "InputsEntry")},
    "PredictLog": {"request": (1, "PredictRequest")},
    "PredictionLog": {"predict_log": (6, "PredictLog")},
}


def prediction_log():
    """Returns the class of PredictionLog, from descriptors."""
    file = descriptor_pb2.FileDescriptorProto(
        name="serving_test.proto", package=_PACKAGE, syntax="proto3"
    )
    kinds = descriptor_pb2.FieldDescriptorProto
    for message, fields in _MESSAGES.items():
        described = file.message_type.add(name=message)
        for name, (number, kind) in fields.items():
            field = described.field.add(name=name, number=number)
            several = name == "inputs"
            field.label = kinds.LABEL_REPEATED if several else kinds.LABEL_OPTIONAL
            if kind in ("string", "bytes"):
                field.type = getattr(kinds, f"TYPE_{kind.upper()}")
            else:
                field.type, field.type_name = kinds.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = pool.FindMessageTypeByName(f"{_PACKAGE}.PredictionLog")
    return message_factory.GetMessageClass(found)


def test_the_requests_run(exported):
    path = exported.folder / "1/assets.extra" / warmup.FILE_NAME
    log_of, seen = prediction_log(), []
    for data in tf.data.TFRecordDataset(str(path)):
        log = log_of.FromString(data.numpy())
        # Fields of other numbers would be kept as unknown ones.
        assert log.ByteSize() == len(data.numpy())
        request = log.predict_log.request
        assert request.model_spec.name == saved_model.MODEL_NAME
        inputs = {
            entry.key: tf.constant(
                tf.make_ndarray(tensor_pb2.TensorProto.FromString(entry.value))
            )
            for entry in request.inputs
        }
        signature = exported.loaded.signatures[request.model_spec.signature_name]
        found = signature(**inputs)
        assert np.isfinite(found["probability"]).all()
        seen.append(request.model_spec.signature_name)
    assert seen == ["serving_default", "grey"]
