"""The peer: a conversion in tf.data with tensorflow-io as decoder.

    python -m tests.benchmarks.sides.tfio_conversion --source=DIR --rle_csv=CSV \\
        --output=DIR --sizes=256,512

Two parallel calls decode; the other peer's OpenCV and NumPy code resizes, applies
CLAHE, makes masks and serialises, in tf.numpy_function.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
import tensorflow_io as tfio

from tests.benchmarks.sides import natural_conversion


def examples_of(args):
    """Yields a list of serialised examples for each image."""
    rows = natural_conversion.read_rows(args.rle_csv)
    paths = sorted(args.source.glob("*.dcm"))

    def make(index, image, patient):
        path = paths[index]
        return np.array(
            natural_conversion.to_examples(
                image,
                path.stem,
                rows[path.stem],
                int(index) % natural_conversion.NUM_FOLDS,
                patient.decode(),
                args.sizes,
            ),
            dtype=object,
        )

    def convert(index, path):
        data = tf.io.read_file(path)
        image = tfio.image.decode_dicom_image(
            data, color_dim=False, scale="preserve", dtype=tf.uint8
        )
        patient = tfio.image.decode_dicom_data(data, tfio.image.dicom_tags.PatientID)
        return tf.numpy_function(make, (index, image[0, :, :, 0], patient), tf.string)

    ds = tf.data.Dataset.from_tensor_slices([str(path) for path in paths])
    ds = ds.enumerate().map(
        convert,
        num_parallel_calls=natural_conversion.NUM_WORKERS,
        deterministic=False,
    )
    return ds.prefetch(natural_conversion.NUM_WORKERS).as_numpy_iterator()


if __name__ == "__main__":
    natural_conversion.run(examples_of)
