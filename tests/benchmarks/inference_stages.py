"""The stages of bulk prediction, each alone, on all cores that the process may use.

    python -m tests.benchmarks.inference_stages --data=DIR --members=RUN,... \\
        --batch_size=16

Reading is records to batches; the model is batches in memory to mean probabilities,
all members and both views; post-processing is those to the competition's code, in one
thread. Prints JSON of wall seconds an image. One pass of each is left out first, for
tracing and caches.
"""

import argparse
import json
import pathlib
import time

import numpy as np

from data_prep import manifest
from inference import ensemble
from inference import members
from inference import postprocess
from inference import tta
from trainer import input_pipeline
from trainer.records import Decoder

READING, MODEL, POST = "reading", "model", "post-processing"
VIEW, SPEC = "hflip", "seed"


def measure(folder: pathlib.Path, paths: list[pathlib.Path], batch_size: int):
    """Returns {stage: wall seconds an image}."""
    data = manifest.read(folder)
    count = sum(shard.num_records for shard in data.test_shards())
    read = _reader(folder, data, count, batch_size)
    batches = list(read)
    loaded = [members.load(path, "swa", data) for path in paths]
    model = ensemble.make_predict(loaded, tta.views((VIEW,)))
    films = [batch["image"] for batch in batches]
    heights, widths = (
        np.concatenate([batch[f"source_{side}"] for batch in batches]).tolist()
        for side in ("height", "width")
    )
    probabilities = np.concatenate([np.asarray(model(film)) for film in films])
    clean = postprocess.parse(SPEC)

    def post():
        for k in range(count):
            clean.rle(
                probabilities[k, :, :, 0],
                heights[k],
                widths[k],
                data.options["aspect"],
            )

    stages = {
        READING: lambda: [None for _ in read],
        MODEL: lambda: [np.asarray(model(film)) for film in films],
        POST: post,
    }
    # The last batch is filled up; what the model sees there is work, too.
    return {name: _seconds(stage) / count for name, stage in stages.items()}


def _reader(folder, data, count, batch_size):
    decode = Decoder(
        image_size=data.image_size,
        pixel_encoding=data.options["pixel_encoding"],
        with_mask=False,
    )
    return input_pipeline.for_evaluation(
        [folder / shard.name for shard in data.test_shards()],
        decode,
        num_records=count,
        batch_size=batch_size,
    )


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
