"""What a search over thresholds needs of each image: counts of pixels.

Each probability map is enlarged and cut once, at all thresholds. From then on the
Dice of any triplet is a look-up, since neither the mask's area nor its overlap
with the truth depends on more than one threshold.
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
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.core.errors import InputError
from data_prep.dataset import rle
from inference.masks import upsampling
from inference.prediction.probability_maps import ProbabilityMap

_ARRAYS = "tables.npz"
_FACTS = "tables.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tables:
    """N images, cut at K thresholds.

    Attributes:
      thresholds: [K] float64, ascending; a pixel at a threshold is inside.
      ids: [N] texts.
      fold: [N] int64, -1 for the test split.
      height: [N] int64, of the source, in pixels.
      width: [N] int64.
      classifier: [N] float64 in 0..1, or all NaN where no classification was made.
      truth_area: [N] int64, pixels of the truth at the source's size.
      area: [N, K] int64, pixels of the prediction.
      overlap: [N, K] int64, pixels of both.
    """

    thresholds: np.ndarray
    ids: np.ndarray
    fold: np.ndarray
    height: np.ndarray
    width: np.ndarray
    classifier: np.ndarray
    truth_area: np.ndarray
    area: np.ndarray
    overlap: np.ndarray

    @property
    def classified(self) -> bool:
        """Whether the images have a classification's probability."""
        return not np.isnan(self.classifier).any()

    def columns(self, thresholds: Iterable[float]) -> np.ndarray:
        """Returns where `thresholds`, all of them known, are among the columns."""
        return np.searchsorted(self.thresholds, list(thresholds))


def count(
    maps: Iterable[ProbabilityMap],
    truth: dict[str, list[str]],
    *,
    how: str,
    thresholds: Iterable[float],
    num_workers: int,
) -> Tables:
    """Makes the tables in one pass.

    Args:
      maps: of one or more images.
      truth: {image id: RLE rows at the source's size}, the union of which is true.
      how: the dataset's aspect policy, see data_prep/dataset/aspect.py.
      thresholds: in 0..1.
      num_workers: threads; no influence on the tables.

    Raises:
      CommandError: no image, one without truth, a row that does not fit, or a
        classification of some images only.
    """
    levels = sorted(set(thresholds))
    look = functools.partial(_counts, truth=truth, how=how, thresholds=tuple(levels))
    rows = list(_in_order(look, maps, num_workers))
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
    return Tables(thresholds=np.array(levels), **columns)


def write(folder: pathlib.Path, tables: Tables, sources: dict[str, Any]) -> None:
    """Writes the tables and what they were made from.

    Args:
      folder: to write to.
      tables: to be kept.
      sources: what decided them but for the thresholds, as JSON takes it.
    """
    path = folder / _ARRAYS
    with durable.atomic_write(path) as aside:
        # Not by asdict, which copies all of them.
        np.savez_compressed(
            aside,
            **{f.name: getattr(tables, f.name) for f in dataclasses.fields(Tables)},
        )
    facts = {"sources": sources, "tables_sha256": durable.sha256(path)}
    durable.write_json(folder / _FACTS, facts)


def read(
    folder: pathlib.Path, sources: dict[str, Any], thresholds: Iterable[float]
) -> Tables | None:
    """Reads tables that `write` left, if they have all of the thresholds.

    Raises:
      CommandError: they were made from something else, or are damaged.
    """
    if not (folder / _FACTS).exists():
        return None
    fix = "choose another --output, or delete this one"
    facts = durable.read_json(folder / _FACTS, fix=fix)
    durable.refuse_other_config(folder, facts["sources"], sources, fix=fix)
    path = folder / _ARRAYS
    durable.check_file(path, expected_sha256=facts["tables_sha256"], fix=fix)
    with np.load(path, allow_pickle=False) as arrays:
        tables = Tables(**arrays)
    return tables if set(thresholds) <= set(tables.thresholds.tolist()) else None


def _counts(
    of: ProbabilityMap,
    *,
    truth: dict[str, list[str]],
    how: str,
    thresholds: tuple[float, ...],
) -> dict[str, Any]:
    """Returns one image's row of the tables."""
    height, width = of.source_height, of.source_width
    true = _true_mask(of, truth)
    area = np.zeros(len(thresholds), np.int64)
    overlap = np.zeros(len(thresholds), np.int64)
    values = of.values.astype(np.float32)
    # The function that a prediction cuts with: equal masks by construction.
    found = upsampling.cut(values, height, width, how, thresholds)
    if found:
        rows, columns = found.masks[0].shape
        shown = true is not None and np.ascontiguousarray(
            true[found.top : found.top + rows, found.left : found.left + columns], bool
        )
        for k, mask in enumerate(found.masks):
            area[k] = np.count_nonzero(mask)
            if not area[k]:
                break  # Higher thresholds leave no more.
            if true is not None:
                overlap[k] = np.count_nonzero(mask & shown)
    return {
        "ids": of.image_id,
        "fold": of.fold,
        "height": height,
        "width": width,
        "classifier": np.nan if of.classifier is None else of.classifier,
        "truth_area": 0 if true is None else np.count_nonzero(true),
        "area": area,
        "overlap": overlap,
    }


def _true_mask(of: ProbabilityMap, truth: dict[str, list[str]]) -> np.ndarray | None:
    """Returns [H, W] uint8; None where it is empty."""
    rows = truth.get(of.image_id)
    if rows is None:
        # Not a negative: nobody has looked.
        raise CommandError(
            ExitCode.FLAGS,
            f"the truth has no row for image {of.image_id}",
            fix="give the --truth of the images that were predicted",
        )
    if rows == [rle.EMPTY]:
        return None
    try:
        return rle.decode_union(rows, of.source_height, of.source_width)
    except InputError as e:
        raise CommandError(
            ExitCode.FLAGS, f"{e.code} for image {of.image_id}: {e.reason}", fix=e.fix
        ) from e


def _in_order(
    function: Callable[[Any], Any], items: Iterable[Any], num_workers: int
) -> Iterator[Any]:
    """Yields the results in order; threads, since NumPy and OpenCV let others run."""
    waiting: collections.deque[futures.Future] = collections.deque()
    with futures.ThreadPoolExecutor(num_workers) as pool:
        for item in items:
            waiting.append(pool.submit(function, item))
            # The window bounds the maps in memory.
            if len(waiting) > 4 * num_workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
