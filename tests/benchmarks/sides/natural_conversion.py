"""The peer: a conversion script as participants of a competition write it.

    python -m tests.benchmarks.sides.natural_conversion --source=DIR --rle_csv=CSV \\
        --output=DIR --sizes=256,512

A multiprocessing.Pool of two decodes each file once with pydicom's default decoder and
returns serialised examples; the parent writes one TFRecord file per size. It has no
checks, no quarantine, no checksums and no resuming, and assigns folds round-robin. It
imports none of our code; OpenCV's own threads are off, which makes it faster.
"""

import argparse
import csv
import functools
import hashlib
import multiprocessing
import pathlib

import cv2
import numpy as np
import pydicom
import tensorflow as tf

NUM_WORKERS = 2
NUM_FOLDS = 5


def read_rows(path):
    """Returns {image id: its RLE rows}."""
    rows = {}
    with open(path) as file:
        for image_id, encoded in list(csv.reader(file))[1:]:
            rows.setdefault(image_id.strip(), []).append(encoded.strip())
    return rows


def rle_to_mask(encoded, width, height):
    """Decodes one row like the competition's own mask_functions.py."""
    mask = np.zeros(width * height, np.uint8)
    if encoded == "-1":
        return mask.reshape(width, height).T
    numbers = np.asarray([int(x) for x in encoded.split()])
    position = 0
    for gap, length in zip(numbers[0::2], numbers[1::2], strict=True):
        position += gap
        mask[position : position + length] = 1
        position += length
    return mask.reshape(width, height).T


def to_examples(image, image_id, rows, fold, patient, sizes):
    """Returns the serialised examples of one decoded image, one per size."""
    clahe = cv2.createCLAHE(clipLimit=2.0, tileGridSize=(8, 8))
    images = [
        clahe.apply(cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA))
        for size in sizes
    ]
    return serialized(images, image.shape, image_id, rows, fold, patient)


def serialized(images, shape, image_id, rows, fold, patient):
    """Returns the serialised examples of one image that has all its sizes."""
    height, width = shape
    mask = np.zeros(shape, np.uint8)
    for encoded in rows:
        mask |= rle_to_mask(encoded, width, height)
    examples = []
    for small in images:
        size = len(small)
        share = cv2.resize(
            mask.astype(np.float32), (size, size), interpolation=cv2.INTER_AREA
        )
        feature = {
            "image/id": _bytes(image_id.encode()),
            "image/pixels": _bytes(small.tobytes()),
            "image/source_height": _int(height),
            "image/source_width": _int(width),
            "mask/bits": _bytes(np.packbits(share >= 0.5).tobytes()),
            "label": _int(int(mask.any())),
            "fold": _int(fold),
            "group": _bytes(hashlib.sha256(patient.encode()).hexdigest().encode()),
        }
        example = tf.train.Example(features=tf.train.Features(feature=feature))
        examples.append(example.SerializeToString())
    return examples


def convert(task, sizes):
    """Decodes one file and returns its serialised examples."""
    path, rows, fold = task
    dataset = pydicom.dcmread(path)
    patient = str(dataset.PatientID)
    return to_examples(dataset.pixel_array, path.stem, rows, fold, patient, sizes)


def write(examples_of_images, output, sizes):
    """Writes one TFRecord file per size."""
    output.mkdir(parents=True)
    writers = [tf.io.TFRecordWriter(str(output / f"{s}.tfrecord")) for s in sizes]
    for examples in examples_of_images:
        for writer, example in zip(writers, examples, strict=True):
            writer.write(example)
    for writer in writers:
        writer.close()


def arguments():
    """Parses the command line, which is the same for every peer."""
    parser = argparse.ArgumentParser()
    for name in ("source", "rle_csv", "output"):
        parser.add_argument(f"--{name}", type=pathlib.Path, required=True)
    parser.add_argument("--sizes", default="256,512")
    args = parser.parse_args()
    args.sizes = [int(size) for size in args.sizes.split(",")]
    return args


def run(examples_of):
    """Writes the examples that `examples_of` yields; OpenCV uses one thread."""
    args = arguments()
    cv2.setNumThreads(1)
    write(examples_of(args), args.output, args.sizes)


def main():
    args = arguments()
    rows = read_rows(args.rle_csv)
    paths = sorted(args.source.glob("*.dcm"))
    tasks = [(p, rows[p.stem], k % NUM_FOLDS) for k, p in enumerate(paths)]
    function = functools.partial(convert, sizes=args.sizes)
    with multiprocessing.Pool(NUM_WORKERS, cv2.setNumThreads, (1,)) as pool:
        results = pool.imap_unordered(function, tasks, chunksize=4)
        write(results, args.output, args.sizes)
        pool.close()
        pool.join()


def _bytes(value):
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


def _int(value):
    return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))


if __name__ == "__main__":
    main()
