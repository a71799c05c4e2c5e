"""Times each stage of bulk prediction alone, on all cores of the process.

    python -m tests.benchmarks.sides.inference_stages --data=DIR --members=RUN,... \\
        --batch_size=16

Reading turns records into batches; the model turns batches in memory into mean
probabilities, with all members and both views; post-processing turns those into the
competition's RLE, in one thread. Prints wall seconds per image as JSON. A first pass
of each stage is not timed, because it traces and fills caches.
"""

import argparse
import functools
import json
import pathlib
import time

import numpy as np
import tensorflow as tf

from inference.config import Engine
from inference.ensemble import mean_probability
from inference.ensemble import placement
from inference.ensemble import tta
from inference.ensemble.members import LoadedGroup
from inference.ensemble.members import Loader
from inference.ensemble.networks import MASK
from inference.inputs import chunks
from inference.inputs import datasets
from inference.masks import postprocess
from trainer.machine import devices

READING, MODEL, POST = "reading", "model", "post-processing"
VIEW, SPEC = "hflip", "seed"


def measure(folder: pathlib.Path, paths: list[pathlib.Path], batch_size: int):
    """Returns {stage: wall seconds per image}."""
    found = datasets.find([folder])
    chosen = datasets.shards_of(found, None)
    num_parts = sum(map(len, chunks.plan(chosen[0])))
    read = functools.partial(chunks.read, found, chosen, [False] * num_parts)
    loader = Loader("swa", found, Engine(name="tensorflow", precision="f32"))
    group = LoadedGroup(segmenters=loader.load_all(paths, MASK), classifiers=[])
    # Where the job has them, too: weights in the host's memory would be copied to a GPU
    # for every batch.
    device = devices.logical_names()[0]
    placed = placement.place(group, device)
    ensemble = mean_probability.segmenters(placed.segmenters, tta.views((VIEW,)))

    def model(film):
        with tf.device(device):
            return ensemble(film)

    parts = [images for _, images in read()]
    films = [
        {str(folder): pixels[k : k + batch_size]}
        for images in parts
        for folder, pixels in images.pixels.items()
        for k in range(0, len(pixels), batch_size)
    ]
    heights, widths = (
        [side for images in parts for side in getattr(images, name)]
        for name in ("heights", "widths")
    )
    probabilities = np.concatenate([np.asarray(model(film)) for film in films])
    count, aspect = len(probabilities), found[0].manifest.options["aspect"]
    clean = postprocess.parse(SPEC)

    def post():
        for k in range(count):
            clean.rle(
                probabilities[k, :, :, 0],
                heights[k],
                widths[k],
                aspect,
            )

    stages = {
        READING: lambda: [None for _ in read()],
        MODEL: lambda: [np.asarray(model(film)) for film in films],
        POST: post,
    }
    return {name: _seconds(stage) / count for name, stage in stages.items()}


def _seconds(stage) -> float:
    stage()
    started = time.perf_counter()
    stage()
    return time.perf_counter() - started


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--members", required=True)
    parser.add_argument("--batch_size", type=int, default=16)
    args = parser.parse_args()
    paths = [pathlib.Path(member) for member in args.members.split(",")]
    print(json.dumps(measure(args.data, paths, args.batch_size)))


if __name__ == "__main__":
    main()
