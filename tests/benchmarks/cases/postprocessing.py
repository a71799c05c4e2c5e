"""Compares our threshold, small-region removal and RLE with two library stacks.

    python -m venv build/bench && build/bench/bin/pip install -c constraints.txt \\
        numpy opencv-python-headless -r tests/benchmarks/requirements-bench.txt
    build/bench/bin/python -m tests.benchmarks.cases.postprocessing

All sides start from mean probabilities and return the RLE of the 1024 x 1024 mask.
"coco" is `cv2.connectedComponentsWithStats` and `pycocotools.mask.encode`, whose
compressed text would still need conversion to the competition's RLE; "coco, early
exit" is the same but detects an empty mask after the threshold; "dust" is `cc3d.dust`
and an RLE in NumPy. Before anything is timed, the masks of all sides are compared pixel
by pixel. All sides use one thread, rounds are interleaved, and goals apply to CPU
seconds.
"""

import argparse
import functools
import time

import cc3d
import cv2
import numpy as np
from pycocotools import mask as coco

from data_prep.dataset import rle
from inference.masks import postprocess
from tests.benchmarks.fixtures import predictions
from tests.benchmarks.harness import timing

SIDE = 1024
MIN_AREA = 2048
SPEC = f"threshold(0.5)|min_area({MIN_AREA}, per=component)"
OURS, COCO, EARLY, DUST = "ours", "coco", "coco, early exit", "dust"
# side -> goals for all images and for the non-empty ones
GOALS = {COCO: (10, 3), EARLY: (None, None), DUST: (4, None)}
_NOTHING = coco.encode(np.zeros((SIDE, SIDE), np.uint8, order="F"))


def ours(clean, probabilities):
    """Returns the competition's code."""
    return clean.rle(probabilities, SIDE, SIDE, "pad")


def with_coco(probabilities, early_exit=False):
    """Returns pycocotools' code."""
    mask = _thresholded(probabilities)
    if early_exit and not mask.any():
        return _NOTHING
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    keep = stats[:, cv2.CC_STAT_AREA] >= MIN_AREA
    keep[0] = False
    return coco.encode(np.asfortranarray(keep[labels].astype(np.uint8)))


def with_dust(probabilities):
    """Returns the competition's code."""
    mask = _thresholded(probabilities)
    kept = cc3d.dust(mask, threshold=MIN_AREA, connectivity=8, in_place=True)
    flat = np.concatenate([[0], kept.ravel(order="F"), [0]])
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    if not edges.size:
        return rle.EMPTY
    gaps = np.diff(edges, prepend=0)
    return " ".join(map(str, gaps))


def differing(clean, images):
    """Counts the masks on which the sides differ."""
    count = 0
    for image in images:
        mask = rle.decode(ours(clean, image), SIDE, SIDE)
        others = (
            coco.decode(with_coco(image)),
            coco.decode(with_coco(image, early_exit=True)),
            rle.decode(with_dust(image), SIDE, SIDE),
        )
        count += any(not np.array_equal(mask, other) for other in others)
    return count


def measure(clean, images, rounds):
    """Returns {side: runs over all images}."""
    functions = {
        OURS: functools.partial(ours, clean),
        COCO: with_coco,
        EARLY: functools.partial(with_coco, early_exit=True),
        DUST: with_dust,
    }
    return timing.interleave(
        {name: functools.partial(_pass, f, images) for name, f in functions.items()},
        rounds=rounds,
    )


def memcpy_s(images):
    """Returns the CPU seconds for copying one 1024 x 1024 mask per image."""
    mask, copy = np.ones((2, SIDE, SIDE), np.uint8)
    return _pass(lambda _: np.copyto(copy, mask), images).cpu_s


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--sizes", default="256,512,1024")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    timing.pin(1)
    clean = postprocess.parse(SPEC)
    packages = ("numpy", "opencv-python-headless", "pycocotools")
    print(timing.machine((*packages, "connected-components-3d")), f"\n{SPEC}\n")
    table = []
    for size in map(int, args.sizes.split(",")):
        images = predictions.draw(args.count, size)
        full = np.array([ours(clean, image) != rle.EMPTY for image in images])
        wrong = differing(clean, images)
        print(f"{size}: {(~full).mean():.0%} empty, {wrong} masks differ")
        if wrong:
            raise SystemExit("the sides do not agree: nothing to time")
        for column, chosen in enumerate((images, images[full])):
            runs = measure(clean, chosen, args.rounds)
            table += _rows(size, ("mix", "non-empty")[column], column, runs, chosen)
    print(timing.markdown(("from", "set", "side", "ms a mask", "ratio", ""), table))


def _rows(size, kind, column, runs, images):
    def per_mask_ms(side):
        return f"{1e3 * timing.spread(runs[side], 'cpu_s').median / len(images):.3f}"

    yield size, kind, OURS, per_mask_ms(OURS), "", ""
    for side, goals in GOALS.items():
        ratio = timing.per_round(lambda a, b: b.cpu_s / a.cpu_s, runs[OURS], runs[side])
        goal = goals[column]
        said = f"goal {goal}: {timing.verdict(ratio.median, goal)}" if goal else ""
        yield size, kind, side, per_mask_ms(side), ratio, said
    limit = memcpy_s(images) / timing.spread(runs[OURS], "cpu_s").median
    yield size, kind, "one copy of the mask", "", f"{limit:.2f} of ours", ""


def _thresholded(probabilities):
    if probabilities.shape != (SIDE, SIDE):
        probabilities = cv2.resize(
            probabilities, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR
        )
    return (probabilities >= np.float32(0.5)).astype(np.uint8)


def _pass(function, images):
    wall, cpu = time.perf_counter(), time.process_time()
    for image in images:
        function(image)
    return timing.Run(
        wall_s=time.perf_counter() - wall, cpu_s=time.process_time() - cpu
    )


if __name__ == "__main__":
    main()
