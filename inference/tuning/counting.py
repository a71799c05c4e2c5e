"""Counts of each image's pixels at all thresholds, for the search over thresholds.

Each probability map is upsampled once, for all thresholds. The Dice of any triplet is
then a look-up, since the mask's area and its overlap with the truth depend on one
threshold only.
"""

import collections
import dataclasses
import functools
import pathlib
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import numpy as np

from data_prep.core import durable
from data_prep.core import npz_file
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.core.errors import InputError
from data_prep.dataset import rle
from inference.masks import image_probability
from inference.masks import upsampling
from inference.prediction.probability_maps import ProbabilityMap
from trainer.validation.pixel_counts import PixelCounts

_ARRAYS = "tables.npz"
_FACTS = "tables.json"


def count(
    maps: Iterable[ProbabilityMap],
    truth: dict[str, list[str]],
    *,
    aspect: str,
    thresholds: Iterable[float],
    num_workers: int,
) -> PixelCounts:
    """Counts the pixels in one pass over the maps.

    Args:
      maps: the probability maps.
      truth: {image id: RLE rows at the source's size}, the union of which is true.
      aspect: the dataset's aspect policy, see data_prep/dataset/aspect.py.
      thresholds: in 0..1.
      num_workers: number of threads; does not change the counts.

    Raises:
      CommandError: there is no map, an image lacks a truth, a run exceeds its image, or
        only some images have a classifier's probability.
    """
    ascending = sorted(set(thresholds))
    count_one = functools.partial(
        _count_image, truth=truth, aspect=aspect, thresholds=tuple(ascending)
    )
    rows = list(_imap_ordered(count_one, maps, num_workers))
    if not rows:
        raise CommandError(
            ExitCode.FLAGS, "the prediction has no image", fix="predict some"
        )
    columns = {name: np.array([r[name] for r in rows]) for name in rows[0]}
    missing = np.isnan(columns["classifier"])
    if missing.any() and not missing.all():
        first = columns["ids"][missing][0]
        raise CommandError(
            ExitCode.CORRUPT,
            f"{missing.sum()} of {len(rows)} probability maps, first {first}, lack "
            "the classifier's probability that others have",
            fix="predict all images again, with the classifiers or without",
        )
    return PixelCounts(thresholds=np.array(ascending), **columns)


def write(folder: pathlib.Path, counts: PixelCounts, sources: dict[str, Any]) -> None:
    """Writes the counts and their sources.

    Args:
      folder: the folder to write.
      counts: the counts.
      sources: what decides them, except for the thresholds, as JSON takes it.
    """
    path = folder / _ARRAYS
    with durable.atomic_write(path) as aside:
        # dataclasses.asdict would copy the arrays.
        np.savez_compressed(
            aside,
            **{
                f.name: getattr(counts, f.name) for f in dataclasses.fields(PixelCounts)
            },
        )
    facts = {"sources": sources, "tables_sha256": durable.sha256(path)}
    durable.write_json(folder / _FACTS, facts)


def read(
    folder: pathlib.Path, sources: dict[str, Any], thresholds: Iterable[float]
) -> PixelCounts | None:
    """Reads counts that `write` wrote; None if there are none at all of `thresholds`.

    Raises:
      CommandError: they have other sources, or are damaged.
    """
    if not (folder / _FACTS).exists():
        return None
    fix = "choose another --output, or delete this one"
    facts = durable.read_json(folder / _FACTS, fix=fix)
    durable.refuse_other_config(folder, facts["sources"], sources, fix=fix)
    path = folder / _ARRAYS
    durable.check_file(path, expected_sha256=facts["tables_sha256"], fix=fix)
    arrays = npz_file.read(path, fix=fix)
    if "peak" not in arrays:
        return None  # Of an earlier version.
    if arrays.keys() != {f.name for f in dataclasses.fields(PixelCounts)}:
        raise CommandError(
            ExitCode.CORRUPT, f"{path} has other tables than counts", fix=fix
        )
    counts = PixelCounts(**arrays)
    return counts if set(thresholds) <= set(counts.thresholds.tolist()) else None


def _count_image(
    probability_map: ProbabilityMap,
    *,
    truth: dict[str, list[str]],
    aspect: str,
    thresholds: tuple[float, ...],
) -> dict[str, Any]:
    """Returns the counts of one image."""
    height, width = probability_map.source_height, probability_map.source_width
    true = _true_mask(probability_map, truth)
    area = np.zeros(len(thresholds), np.int64)
    overlap = np.zeros(len(thresholds), np.int64)
    values = probability_map.values.astype(np.float32)
    # Prediction thresholds with the same function, so the masks are equal.
    crop = upsampling.upsample_threshold(values, height, width, aspect, thresholds)
    if crop:
        rows, columns = crop.masks[0].shape
        true_crop = true is not None and np.ascontiguousarray(
            true[crop.top : crop.top + rows, crop.left : crop.left + columns], bool
        )
        for k, mask in enumerate(crop.masks):
            area[k] = np.count_nonzero(mask)
            if not area[k]:
                break  # At higher thresholds the mask is empty, too.
            if true is not None:
                overlap[k] = np.count_nonzero(mask & true_crop)
    classifier = probability_map.classifier
    return {
        "ids": probability_map.image_id,
        "fold": probability_map.fold,
        "height": height,
        "width": width,
        "classifier": np.nan if classifier is None else classifier,
        "truth_area": 0 if true is None else np.count_nonzero(true),
        "area": area,
        "overlap": overlap,
        "peak": image_probability.of_map(probability_map.values),
    }


def _true_mask(
    probability_map: ProbabilityMap, truth: dict[str, list[str]]
) -> np.ndarray | None:
    """Returns the true mask, [H, W] uint8; None if it is empty."""
    image_id = probability_map.image_id
    rows = truth.get(image_id)
    if rows is None:
        # A missing row is not a negative: the image is not labelled.
        raise CommandError(
            ExitCode.FLAGS,
            f"the truth has no row for image {image_id}",
            fix="give the --truth of the images that were predicted",
        )
    if rows == [rle.EMPTY]:
        return None
    try:
        return rle.decode_union(
            rows, probability_map.source_height, probability_map.source_width
        )
    except InputError as e:
        raise CommandError(
            ExitCode.FLAGS, f"{e.code} for image {image_id}: {e.reason}", fix=e.fix
        ) from e


def _imap_ordered(
    function: Callable[[Any], Any], items: Iterable[Any], num_workers: int
) -> Iterator[Any]:
    """Yields the results in order, from threads: NumPy and OpenCV release the GIL."""
    pending: collections.deque[futures.Future] = collections.deque()
    with futures.ThreadPoolExecutor(num_workers) as pool:
        for item in items:
            pending.append(pool.submit(function, item))
            # Bounds the number of maps in memory.
            if len(pending) > 4 * num_workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
