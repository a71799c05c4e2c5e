"""Compares reading training data, without augmentation, with copying memory.

    python -m tests.benchmarks.cases.reading --images=2048 --rounds=7 [--epochs=20]

The delivered bytes are the uint8 images and masks in a training loop's batches. The
limit is the speed at which `np.copyto` copies as many bytes between arrays of the
batches' shapes, 128 MiB of them per thread, with one thread per core. One process times
in turn: that copy, `--cache=memory`, `--cache=none` (records in the system's page
cache, checksums verified), and bare reading, which is a sequential `TFRecordDataset`
over the same files without parsing. A fifth of the images has a mask. --epochs also
measures resident memory after epoch 2 and after the last epoch, in a separate process
for each cache. A missed goal is printed as MISSED.
"""

import argparse
import itertools
import json
import os
import pathlib
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from data_prep.dataset import schema
from data_prep.dataset import shards
from tests.benchmarks.harness import timing
from trainer.augment import recipe
from trainer.input import input_pipeline
from trainer.input import sampling
from trainer.input.record_store import CachedSource
from trainer.input.record_store import RandomAccessSource
from trainer.input.records import Decoder

SIZES = (256, 512)
BATCH_SIZE = 16
RECORDS_PER_SHARD = 512
NUM_CORES = 2
GOAL = 0.60
MEMORY_GOAL = 1.02
COPY, MEMORY, NONE, BARE = "copy", "memory", "none", "bare reading"
_COPIED = 128 << 20
_POSITIVE_EVERY = 5


def write(folder: pathlib.Path, size: int, count: int) -> None:
    """Writes `count` records with noise images; every fifth has a mask."""
    draw = np.random.default_rng(size)
    mask = np.zeros((size, size), np.uint8)
    mask[size // 8 : size // 2, size // 8 : size // 3] = 1

    def record(k):
        positive = k % _POSITIVE_EVERY == 0
        return schema.serialize(
            schema.Record(
                image_id=f"{k:08d}",
                pixels=draw.bytes(size * size),
                source_height=1024,
                source_width=1024,
                mask_bits=schema.pack_mask(mask * positive),
                label=int(positive),
                fold=0,
                group="",
            )
        )

    for first in range(0, count, RECORDS_PER_SHARD):
        numbers = range(first, min(first + RECORDS_PER_SHARD, count))
        shards.write(folder / f"{first:08d}.tfrecord", (record(k) for k in numbers))


class Sides:
    """The timed sides; each delivers, reads or copies one epoch."""

    def __init__(self, folder: pathlib.Path, size: int):
        self._decode = Decoder(image_size=size, pixel_encoding="raw", with_mask=True)
        self._files = sorted(folder.iterdir())
        self._on_disk = RandomAccessSource(
            folder, [shard(f) for f in self._files], self._decode
        )
        self.count = self._on_disk.count
        self.steps = self.count // BATCH_SIZE
        self._shape = (BATCH_SIZE, size, size, 1)

    def all(self) -> dict[str, Callable[[], timing.Run]]:
        """Returns {side: function that performs one run}."""
        epochs = {name: self.epochs(name) for name in (MEMORY, NONE)}
        sides = {COPY: self._copier()}
        sides |= {name: lambda e=e: next(e) for name, e in epochs.items()}
        sides[BARE] = self._read_bare
        return {name: lambda side=side: _timed(side) for name, side in sides.items()}

    def epochs(self, cache: str) -> Iterator[int]:
        """Reads an epoch at each step; yields its number of images."""
        store = self._on_disk
        if cache == MEMORY:
            store = CachedSource(store, self._decode)
        numbers = np.arange(self.count)
        positive = numbers % _POSITIVE_EVERY == 0
        order = sampling.parse("natural").order(
            sampling.Request(
                positives=numbers[positive],
                negatives=numbers[~positive],
                epochs=1,
                batch_size=BATCH_SIZE,
                seed=1,
            )
        )
        none = recipe.parse("none")
        batches = iter(
            input_pipeline.for_training(
                order, store, none, batch_size=BATCH_SIZE, seed=1
            )
        )
        while True:
            for _ in range(self.steps):
                next(batches)
            yield self.steps * BATCH_SIZE

    def _copier(self) -> Callable[[], None]:
        pairs = _COPIED // (2 * int(np.prod(self._shape)))
        arrays = [
            [np.ones(self._shape, np.uint8) for _ in range(4 * pairs)]
            for _ in range(NUM_CORES)
        ]

        def copy():
            left = iter(range(self.steps))

            def work(mine):
                for k in left:  # Shared: a faster thread copies more batches.
                    at = 4 * (k % pairs)
                    np.copyto(mine[at], mine[at + 1])  # Image
                    np.copyto(mine[at + 2], mine[at + 3])  # Mask

            threads = [threading.Thread(target=work, args=(a,)) for a in arrays]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        return copy

    def _read_bare(self) -> None:
        files = [str(f) for f in self._files]
        for _ in tf.data.TFRecordDataset(files, num_parallel_reads=NUM_CORES):
            pass


def shard(path: pathlib.Path) -> shards.Shard:
    """Returns the Shard that describes one record file."""
    return shards.Shard(
        name=path.name,
        split=shards.TRAIN_SPLIT,
        fold=0,
        label=-1,
        num_records=len(shards.offsets(path)),
        num_bytes=path.stat().st_size,
        sha256="",
    )


def _timed(side: Callable[[], Any]) -> timing.Run:
    cpu, started = time.process_time(), time.perf_counter()
    side()
    wall_s = time.perf_counter() - started
    return timing.Run(wall_s=wall_s, cpu_s=time.process_time() - cpu)


def measure(folder: pathlib.Path, size: int, rounds: int) -> list[tuple]:
    """Returns rows of (size, side, images/s, two ratios, goal, two verdicts)."""
    sides = Sides(folder, size)
    runs = timing.interleave(sides.all(), rounds=rounds)
    rows = []
    for name, of_side in runs.items():
        speed = timing.per_round(lambda r: sides.count / r.wall_s, of_side)
        ratios = [
            timing.per_round(
                lambda copy, run, of=attribute: getattr(copy, of) / getattr(run, of),
                runs[COPY],
                of_side,
            )
            for attribute in ("wall_s", "cpu_s")
        ]
        goal, said = "", ("", "")
        if name not in (COPY, BARE):
            goal = f">= {GOAL}"
            said = [timing.verdict(ratio.median, GOAL) for ratio in ratios]
        rows.append((size, name, f"{speed.median:.0f}", *ratios, goal, *said))
    return rows


def grow(folder: pathlib.Path, size: int, cache: str, epochs: int) -> list[float]:
    """Returns the resident memory in MiB after each of `epochs` epochs."""
    page = os.sysconf("SC_PAGE_SIZE")
    resident = []
    for _ in itertools.islice(Sides(folder, size).epochs(cache), epochs):
        words = pathlib.Path("/proc/self/statm").read_text().split()
        resident.append(int(words[1]) * page / 2**20)
    return resident


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--epochs", type=int, default=0, help="measure memory, too")
    args = parser.parse_args()
    timing.pin(NUM_CORES)
    machine = timing.machine(("tensorflow", "numpy"))
    rows, memory = [], []
    with tempfile.TemporaryDirectory(prefix="reading-") as name:
        for size in SIZES:
            folder = pathlib.Path(name, str(size))
            folder.mkdir()
            write(folder, size, args.images)
            rows += measure(folder, size, args.rounds)
            for cache in (NONE, MEMORY) if args.epochs else ():
                memory.append((size, cache, *_growth(folder, size, cache, args.epochs)))
    print("\n".join(f"{k}: {v}" for k, v in machine.items()), end="\n\n")
    ratios = ("copy / side, wall", "CPU")
    header = ("size", "side", "images/s", *ratios, "goal", "wall", "CPU")
    print(timing.markdown(header, rows))
    if memory:
        last = f"epoch {args.epochs}, MiB"
        header = ("size", "cache", "epoch 2, MiB", last, "ratio", "goal", "")
        print("\n" + timing.markdown(header, memory))


def _growth(folder, size, cache, epochs) -> tuple:
    """Measures in a new process, whose memory holds nothing else."""
    code = (
        "import json, pathlib; from tests.benchmarks.cases import reading; "
        f"print(json.dumps(reading.grow(pathlib.Path({str(folder)!r}), {size}, "
        f"{cache!r}, {epochs})))"
    )
    root = pathlib.Path(__file__).parents[3]
    run = timing.run_process([sys.executable, "-c", code], cwd=root)
    resident = json.loads(run.output)
    ratio = resident[-1] / resident[1]
    said = timing.verdict(ratio, MEMORY_GOAL, at_most=True)
    timing.say(f"resident MiB, {size}, {cache}: {[round(r) for r in resident]}")
    shown = (f"{resident[1]:.0f}", f"{resident[-1]:.0f}", f"{ratio:.3f}")
    return (*shown, f"<= {MEMORY_GOAL}", said)


if __name__ == "__main__":
    main()
