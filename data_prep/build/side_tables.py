"""The csvs beside the datasets that name images: ids, pixel sizes, films alike.

A csv that would have no row is not written, and one of an earlier run is deleted.
"""

import logging
import pathlib
from collections.abc import Iterable
from collections.abc import Mapping

from data_prep.build import near_duplicates
from data_prep.build import source_ids
from data_prep.build import spacing_table
from data_prep.build.plan import Plan
from data_prep.build.shard_facts import ShardFacts
from data_prep.config import ConvertConfig
from data_prep.core import csv_cells
from data_prep.core import durable
from data_prep.dataset import schema
from data_prep.pixels.dicom_spacing import Spacing
from data_prep.source.quarantine import printable

IDS_FILE = "ids.csv"
WITHOUT_IMAGE_FILE = "labels_without_image.csv"
NEAR_DUPLICATES_FILE = "near_duplicates.csv"
# In the form that --group_csv takes.
GROUPS_FILE = "near_duplicate_groups.csv"


def write(
    config: ConvertConfig, planned: Plan, facts: Mapping[str, ShardFacts]
) -> None:
    """Writes all of them, and logs a line for each that has rows.

    Args:
      config: the conversion.
      planned: what was converted.
      facts: {shard name: its facts}.
    """
    ids = [(i, printable(n)) for i, n in source_ids.mapped(config, planned.names)]
    _write(config.output / IDS_FILE, ("ImageId", "name"), ids)
    names = [(printable(name),) for name in planned.labels_without_image]
    _write(config.output / WITHOUT_IMAGE_FILE, ("ImageId",), names)
    spacings = {i: Spacing(*s) for f in facts.values() for i, s in f.spacings.items()}
    rows = spacing_table.rows(spacings)
    _write(config.output / spacing_table.FILE_NAME, spacing_table.HEADER, rows)
    looks = {i: h for f in facts.values() for i, h in f.looks.items()}
    _write_near_duplicates(config, planned, looks)


def _write_near_duplicates(
    config: ConvertConfig, planned: Plan, looks: Mapping[str, str]
) -> None:
    tasks = [task for shard in planned.shards for task in shard.tasks]
    fold_of = {task.image_id: task.fold for task in tasks}
    group_of = {task.image_id: task.group for task in tasks}
    pairs = near_duplicates.find(looks)
    across = [pair for pair in pairs if fold_of[pair[0]] != fold_of[pair[1]]]
    rows = [(a, b, d, _fold(fold_of[a]), _fold(fold_of[b])) for a, b, d in across]
    header = ("ImageId", "other_ImageId", "distance", "fold", "other_fold")
    _write(config.output / NEAR_DUPLICATES_FILE, header, rows)
    groups = near_duplicates.join(((a, b) for a, b, _ in pairs), group_of)
    # A group in the test split cannot be moved, and a published split is kept.
    trained = [
        p for p in across if schema.NO_FOLD not in (fold_of[p[0]], fold_of[p[1]])
    ]
    table = sorted(groups.items()) if trained else []
    _write(config.output / GROUPS_FILE, ("ImageId", "patient"), table)
    if not across:
        logging.info(
            "no two of %d films in different folds look alike (%d of %d bits)",
            len(looks),
            near_duplicates.MAX_DISTANCE,
            near_duplicates.NUM_BITS,
        )
        return
    logging.warning(
        "NEAR_DUPLICATES: %d pairs of films look alike and are in different folds or "
        "splits, the first is %s and %s; %s lists them%s",
        len(across),
        *across[0][:2],
        config.output / NEAR_DUPLICATES_FILE,
        _remedy(config) if trained else "",
    )


def _remedy(config: ConvertConfig) -> str:
    also = ""
    if config.folds_csv or config.fold_lists:
        also = " and without a published split"
    return (
        f"; convert to another --output with --group_csv={config.output / GROUPS_FILE}"
        f"{also} to keep them together"
    )


def _fold(fold: int) -> str:
    return "test" if fold == schema.NO_FOLD else str(fold)


def _write(path: pathlib.Path, header: tuple, rows: Iterable[tuple]) -> None:
    rows = sorted(rows)
    if not rows:
        path.unlink(missing_ok=True)
        return
    durable.write_text(path, csv_cells.table(header, rows))
