"""`.work/plan/`: a plan on disk, for other processes, and for a later run.

Each shard has a file, and so has what publishing needs beside them, in pieces. The
file that says what the plan is of comes last: a plan that has it is whole.
"""

import dataclasses
import itertools
import pathlib
import secrets
from collections.abc import Iterable
from collections.abc import Iterator
from typing import Any

from data_prep.build import input_stamps
from data_prep.build import plan
from data_prep.build import plan_json
from data_prep.build import work_folder
from data_prep.build.input_stamps import Stamp
from data_prep.build.plan import Plan
from data_prep.build.plan import PlannedShard
from data_prep.config import ConvertConfig
from data_prep.core import durable
from data_prep.core import remote
from data_prep.executors import code_hash
from data_prep.source.quarantine import Row
from data_prep.source.source_file import SourceFile

_SHARDS = "shards"
# The tables, in files of their own: what no shard has.
_FILES = "files"
_WITHOUT_IMAGE = "labels_without_image"
_QUARANTINE = "quarantine"
# A plan that another version has written is made again.
_FORMAT = 2
# Rows of one file of a table.
_ROWS = 10_000
_FIX = "delete the folder .work in --output, and run --plan_only again"
# They change neither the plan nor a byte of a shard, or are told by other fields:
# `sizes` by what the work folder says is built, the secret by its check.
_DECIDES_NOTHING = frozenset(
    {
        "output",
        "sizes",
        "num_workers",
        "placement",
        "allow_quarantined",
        "max_bad_fraction",
        "group_salt",
    }
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlanHead:
    """What a stored plan is of.

    Attributes:
      options: all of the configuration that decides it.
      code: `code_hash.of_this_machine` of the code that has made it.
      made: a random name of it, since one of replaced files may have the same head.
      inputs: `source_inputs.digest` of its inputs.
      listing: `source_inputs.listing_digest` of them.
      fingerprint: `plan.fingerprint` of its shards.
      costs: {name of a shard: number of pixels of its images}, sorted by name.
      num_rows: {table: number of its rows}.
    """

    options: dict[str, Any]
    code: str
    made: str
    inputs: str
    listing: str
    fingerprint: str
    costs: dict[str, int]
    num_rows: dict[str, int]


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoredPlan:
    """A plan, and the rows that planning has put into the quarantine."""

    plan: Plan
    quarantined: list[Row]


def options(config: ConvertConfig) -> dict[str, Any]:
    """Returns what of a configuration decides the plan and the bytes of its shards."""
    found = {
        field.name: getattr(config, field.name)
        for field in dataclasses.fields(config)
        if field.name not in _DECIDES_NOTHING
    }
    shown = {name: _plain(value) for name, value in found.items()}
    return durable.to_jsonable(shown | {"group_salt_check": config.salt_check()})


def write(
    config: ConvertConfig,
    planned: Plan,
    quarantined: Iterable[Row],
    *,
    inputs: str,
    listing: str,
) -> None:
    """Writes a plan, in place of an earlier one.

    Args:
      config: the conversion, with absolute paths.
      planned: its plan.
      quarantined: rows of the inputs that planning has refused.
      inputs: `source_inputs.digest` from before the plan was made.
      listing: `source_inputs.listing_digest` from then.
    """
    folder = work_folder.plan_path(config)
    # The head goes first, so that a plan is whole or not there.
    work_folder.plan_head(config).unlink(missing_ok=True)
    remote.remove_tree(folder)
    key_of = _key_of(planned)
    kept: set[str] = set()
    for shard in planned.shards:
        rows = [_task_row(planned, key_of, task) for task in shard.tasks]
        for _, _, *keyed in rows:
            kept.update(pair[0] for pair in keyed if pair)
        value = {"split": shard.split, "fold": shard.fold, "label": shard.label}
        durable.write_json(
            _shard_file(config, shard.name), value | {"tasks": plan_json.packed(rows)}
        )
    others = (
        [key, plan_json.of_file(file), list(planned.stamps[key])]
        for key, file in planned.files.items()
        if key not in kept
    )
    tables = {
        _FILES: others,
        _WITHOUT_IMAGE: planned.labels_without_image,
        _QUARANTINE: map(list, quarantined),
    }
    num_rows = {name: _write_table(folder, name, t) for name, t in tables.items()}
    head = PlanHead(
        options=options(config),
        code=code_hash.of_this_machine(),
        made=secrets.token_hex(16),
        inputs=inputs,
        listing=listing,
        fingerprint=plan.fingerprint(planned.shards),
        costs={s.name: sum(t.num_pixels for t in s.tasks) for s in planned.shards},
        num_rows=num_rows,
    )
    value = {"format": _FORMAT, **dataclasses.asdict(head)}
    durable.write_json(work_folder.plan_head(config), value)


def read_head(config: ConvertConfig) -> PlanHead | None:
    """Returns what the stored plan is of, None where there is none.

    Raises:
      CommandError: it is damaged.
    """
    path = work_folder.plan_head(config)
    if not path.exists():
        return None
    stored = durable.read_json(path, fix=_FIX)
    return PlanHead(**stored) if stored.pop("format") == _FORMAT else None


def read_shard(config: ConvertConfig, name: str) -> PlannedShard:
    """Returns one shard of the stored plan.

    Raises:
      CommandError: it is missing or damaged.
    """
    return _shard(name, _read_shard_file(config, name))


def read_stamps(
    config: ConvertConfig, name: str
) -> tuple[dict[str, SourceFile], dict[str, Stamp]]:
    """Returns {key: file} and {key: stamp} of the files of one shard."""
    files: dict[str, SourceFile] = {}
    stamps: dict[str, Stamp] = {}
    stored = _read_shard_file(config, name)
    _take_files(_shard(name, stored), stored, files, stamps)
    return files, stamps


def read(config: ConvertConfig, head: PlanHead) -> StoredPlan:
    """Returns the stored plan, as it was written.

    Raises:
      CommandError: a part of it is missing or damaged.
    """
    folder = work_folder.plan_path(config)
    shards, names, files, stamps = [], {}, {}, {}
    for name in head.costs:
        stored = _read_shard_file(config, name)
        shards.append(_shard(name, stored))
        for task, row in zip(shards[-1].tasks, stored["tasks"], strict=True):
            names[task.image_id] = row[1]
        _take_files(shards[-1], stored, files, stamps)
    for key, file, stamp in _read_table(folder, _FILES, head):
        files[key], stamps[key] = plan_json.to_file(file), tuple(stamp)
    planned = Plan(
        shards=shards,
        names=names,
        labels_without_image=tuple(_read_table(folder, _WITHOUT_IMAGE, head)),
        files=files,
        stamps=stamps,
    )
    rows = [tuple(row) for row in _read_table(folder, _QUARANTINE, head)]
    return StoredPlan(plan=planned, quarantined=rows)


def has_same_stamps(planned: Plan) -> bool:
    """Returns whether every file of a stored plan has its stamp of then."""
    return not input_stamps.differing(planned.stamps, input_stamps.take(planned.files))


def _key_of(planned: Plan) -> dict[tuple[str, SourceFile], str]:
    """Returns {(role, file): key}; one file may be an image and a mask."""
    return {(k.partition("/")[0], f): k for k, f in planned.files.items()}


def _task_row(planned: Plan, key_of: dict, task: plan.Task) -> list:
    """Returns a task, its name, and the keys and stamps of its image and its mask."""
    keyed = []
    for role, file in (
        ("source" if task.fold >= 0 else "test_source", task.file),
        ("mask_source", task.mask_file),
    ):
        key = file and key_of[role, file]
        keyed.append(key and [key, list(planned.stamps[key])])
    return [plan_json.of_task(task), planned.names[task.image_id], *keyed]


def _shard(name: str, stored: dict) -> PlannedShard:
    return PlannedShard(
        name=name,
        split=stored["split"],
        fold=stored["fold"],
        label=stored["label"],
        tasks=tuple(plan_json.to_task(row[0]) for row in stored["tasks"]),
    )


def _take_files(shard: PlannedShard, stored: dict, files: dict, stamps: dict) -> None:
    for task, (_, _, *keyed) in zip(shard.tasks, stored["tasks"], strict=True):
        for file, pair in zip((task.file, task.mask_file), keyed, strict=True):
            if pair:
                files[pair[0]], stamps[pair[0]] = file, tuple(pair[1])


def _write_table(folder: pathlib.Path, name: str, rows: Iterable) -> int:
    """Writes rows in pieces; returns how many they are."""
    rows, num_rows = iter(rows), 0
    while piece := list(itertools.islice(rows, _ROWS)):
        path = folder / f"{name}-{num_rows // _ROWS:05}.json"
        durable.write_json(path, {"rows": plan_json.packed(piece)})
        num_rows += len(piece)
    return num_rows


def _read_table(folder: pathlib.Path, name: str, head: PlanHead) -> Iterator:
    for first in range(0, head.num_rows[name], _ROWS):
        path = folder / f"{name}-{first // _ROWS:05}.json"
        yield from plan_json.unpacked(durable.read_json(path, fix=_FIX)["rows"])


def _read_shard_file(config: ConvertConfig, name: str) -> dict:
    stored = durable.read_json(_shard_file(config, name), fix=_FIX)
    return stored | {"tasks": list(plan_json.unpacked(stored["tasks"]))}


def _shard_file(config: ConvertConfig, name: str) -> pathlib.Path:
    return work_folder.plan_path(config) / _SHARDS / f"{name}.json"


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    return value if isinstance(value, bool | int | float | None) else str(value)
