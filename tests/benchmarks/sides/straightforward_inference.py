"""The peer: a bulk prediction script as participants of a competition write it.

    python -m tests.benchmarks.sides.straightforward_inference --data=DIR \\
        --members=RUN,... --output=CSV --rle=loop

Every member predicts all films and their mirror images with `model.predict`. Each
prediction of a film is enlarged to 1024 x 1024, their mean is thresholded at 0.5, and
masks with fewer than 2,048 pixels in total become empty. `--rle=loop` iterates over all
pixels of every mask, like the competition's mask_functions.py and the 2019 solution,
which uses it; `--rle=numpy` takes differences. There are no checks and no hashes. It
imports none of our code, and keeps predictions at the network's size, which makes it
faster.
"""

import argparse
import pathlib

import cv2
import keras
import numpy as np
import scipy.ndimage
import tensorflow as tf

SIDE = 1024
THRESHOLD = np.float32(0.5)
MIN_AREA = 2048
# Prediction does not use dropout, so Keras's own layer can replace ours.
PLAIN = {"pneumothorax>Dropout": keras.layers.Dropout}


def read(data):
    """Returns the ids and the films of a dataset folder, [N, S, S, 1] float32."""
    names = sorted(str(path) for path in data.glob("*.tfrecord*"))
    ids, films = [], []
    for record in tf.data.TFRecordDataset(names):
        parsed = tf.io.parse_single_example(
            record,
            {
                "image/id": tf.io.FixedLenFeature([], tf.string),
                "image/pixels": tf.io.FixedLenFeature([], tf.string),
            },
        )
        ids.append(parsed["image/id"].numpy().decode())
        film = tf.io.decode_raw(parsed["image/pixels"], tf.uint8).numpy()
        side = int(len(film) ** 0.5)
        films.append(film.reshape(side, side, 1).astype(np.float32))
    return ids, np.stack(films)


def predict(members, films, batch_size):
    """Returns a list of probabilities [N, S, S], one for each member and view."""
    found = []
    for member in members:
        model = keras.models.load_model(
            member / "network.keras", custom_objects=PLAIN, compile=False
        )
        for mirror in (False, True):
            seen = films[:, :, ::-1] if mirror else films
            logits = model.predict(seen, batch_size=batch_size, verbose=0)["mask"]
            probabilities = 1 / (1 + np.exp(-logits[:, :, :, 0]))
            found.append(probabilities[:, :, ::-1] if mirror else probabilities)
    return found


def mean_at_full_size(found, number):
    """Returns the mean of the enlarged predictions of one film."""
    total = np.zeros((SIDE, SIDE), np.float32)
    for probabilities in found:
        total += cv2.resize(
            probabilities[number], (SIDE, SIDE), interpolation=cv2.INTER_LINEAR
        )
    return total / len(found)


def to_mask(mean):
    """Applies the threshold, and empties a mask whose total area is too small."""
    mask = (mean >= THRESHOLD).astype(np.uint8)
    labels, _ = scipy.ndimage.label(mask, structure=np.ones((3, 3)))
    areas = np.bincount(labels.ravel())[1:]
    if areas.sum() < MIN_AREA:
        mask[:] = 0
    return mask


def rle_by_loop(mask):
    """Encodes a mask pixel by pixel, column by column."""
    columns = mask.T
    numbers = []
    gap = length = 0
    for x in range(columns.shape[0]):
        for y in range(columns.shape[1]):
            if columns[x][y]:
                length += 1
                continue
            if length:
                numbers += [gap, length]
                gap = length = 0
            gap += 1
    if length:
        numbers += [gap, length]
    return " ".join(map(str, numbers)) or "-1"


def rle_by_numpy(mask):
    """Encodes a mask from the positions at which its pixels change."""
    pixels = np.concatenate([[0], mask.T.ravel(), [0]])
    edges = np.flatnonzero(np.diff(pixels))
    return " ".join(map(str, np.diff(edges, prepend=0))) or "-1"


RLES = {"loop": rle_by_loop, "numpy": rle_by_numpy}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--members", required=True)
    parser.add_argument("--output", type=pathlib.Path, required=True)
    parser.add_argument("--rle", choices=sorted(RLES), default="loop")
    parser.add_argument("--batch_size", type=int, default=16)
    args = parser.parse_args()
    ids, films = read(args.data)
    members = [pathlib.Path(member) for member in args.members.split(",")]
    found = predict(members, films, args.batch_size)
    with open(args.output, "w") as file:
        file.write("ImageId,EncodedPixels\n")
        for number, image_id in enumerate(ids):
            mask = to_mask(mean_at_full_size(found, number))
            file.write(f"{image_id},{RLES[args.rle](mask)}\n")


if __name__ == "__main__":
    main()
