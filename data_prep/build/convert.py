"""Converts a source folder to datasets: plan, write shard by shard, publish.

A shard is the unit of work. It is written aside and renamed, then its facts go
to a small file in `.work/`; a conversion that was stopped anywhere skips the
shards that have both and ends with the same bytes. `dataset.json` comes last.
"""

import contextlib
import dataclasses
import functools
import hashlib
import itertools
import logging
import shutil
from typing import Any

from data_prep.build import clahe
from data_prep.build import plan
from data_prep.build.image_records import Pixels
from data_prep.build.image_records import convert as convert_image
from data_prep.build.plan import PlannedShard
from data_prep.config import ConvertConfig
from data_prep.core import durable
from data_prep.core import workers
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.core.errors import InputError
from data_prep.core.progress import tracked
from data_prep.dataset import manifest
from data_prep.dataset import shards
from data_prep.source import dicom_tfio
from data_prep.source import quarantine
from data_prep.source.probe import look
from data_prep.source.quarantine import Quarantine

LIMITS = workers.Limits(memory_bytes=2 << 30, seconds=30)
# TensorFlow alone reserves more address space than that.
_TFIO_LIMITS = workers.Limits(memory_bytes=32 << 30, seconds=120)
FOLDS_FILE = "folds.csv"
SOURCES_FILE = "sources.csv"
_WORK = ".work"
_SHOWN = 50
_OTHER_CONFIG = "choose another --output, or delete this one"


def convert(config: ConvertConfig) -> ExitCode:
    """Converts, or continues or confirms an earlier run of the same command.

    Returns:
      DONE, or QUARANTINED where more inputs were refused than allowed for.

    Raises:
      CommandError: bad flags, a conflicting output, or too many bad inputs.
    """
    _check_options(config)
    inputs = plan.digest_of_inputs(config)
    with durable.locked(config.output):
        if _published(config, inputs):
            logging.info("%s is already complete", config.output)
        else:
            _build(config, inputs)
        shutil.rmtree(config.output / _WORK, ignore_errors=True)
    rows = quarantine.read(config.output)
    return _exit_code(config, rows)


def dry_run(config: ConvertConfig) -> ExitCode:
    """Reads labels and headers, says what would be made of them, writes nothing.

    Returns:
      As `convert` would, as far as headers tell.
    """
    _check_options(config)
    bad = _quarantine(config)
    with workers.WorkerPool(
        look, num_workers=config.num_workers, limits=LIMITS
    ) as pool:
        planned = plan.make(config, pool, bad)
    counts: dict[str, int] = {}
    for shard in planned:
        kind = shard.name.split(".")[0]
        counts[kind] = counts.get(kind, 0) + len(shard.tasks)
    for kind, count in counts.items():
        logging.info("%s: %d images", kind, count)
    code = _exit_code(config, bad.rows())
    _refuse_too_many_bad(config, planned, bad)
    return code


def _check_options(config: ConvertConfig) -> None:
    """Refuses what no file could be converted with, before any is looked at."""
    clahe.parse(config.clahe)
    if config.dicom_decoder == "tfio":
        dicom_tfio.check()


def _build(config: ConvertConfig, inputs: str) -> None:
    bad = _quarantine(config)
    to_records = functools.partial(convert_image, _pixels(config))
    limits = _TFIO_LIMITS if config.dicom_decoder == "tfio" else LIMITS
    # One pool for headers and shards: a start takes longer than many images.
    with workers.WorkerPool(
        look, to_records, num_workers=config.num_workers, limits=limits
    ) as pool:
        planned = plan.make(config, pool, bad)
        # Asked twice: before hours of decoding, and with what the decoding found.
        _refuse_too_many_bad(config, planned, bad)
        _claim(config, planned)
        to_records_in_order = functools.partial(pool.imap_ordered, to_records)
        facts = _write_shards(config, planned, bad, to_records_in_order)
    _refuse_too_many_bad(config, planned, bad)
    _publish(config, planned, facts, bad, inputs)


def _quarantine(config: ConvertConfig) -> Quarantine:
    return Quarantine(
        *filter(None, [config.source, config.mask_source, config.test_source])
    )


def _published(config: ConvertConfig, inputs: str) -> bool:
    """Tells whether all sizes are complete; another configuration is a CommandError."""
    complete = []
    for size in config.sizes:
        folder = config.output / str(size)
        if not (folder / manifest.FILE_NAME).exists():
            continue
        stored = manifest.read(folder)
        durable.refuse_other_config(
            folder, stored.options, _options(config, size, inputs), fix=_OTHER_CONFIG
        )
        manifest.check_shards(folder, list(stored.shards))
        complete.append(size)
    return complete == list(config.sizes)


def _options(config: ConvertConfig, size: int, inputs: str) -> dict[str, Any]:
    return durable.to_jsonable({**config.options(size), "inputs": inputs})


def _claim(config: ConvertConfig, planned: list[PlannedShard]) -> None:
    """Records what is being built, or refuses if something else was begun here."""
    claim = config.output / _WORK / "plan.json"
    wanted = durable.to_jsonable(
        {
            "sizes": config.sizes,
            **config.options(0),
            "inputs": plan.fingerprint(planned),
        }
    )
    if claim.exists():
        stored = durable.read_json(claim, fix=_OTHER_CONFIG)
        durable.refuse_other_config(config.output, stored, wanted, fix=_OTHER_CONFIG)
    durable.write_json(claim, wanted)


def _write_shards(
    config, planned, bad, to_records_in_order
) -> dict[str, dict[str, Any]]:
    """Writes every shard that is not there yet; returns {shard name: its facts}."""
    done = {s.name: config.output / _WORK / f"{s.name}.json" for s in planned}
    pending = [shard for shard in planned if not done[shard.name].exists()]
    total = sum(len(shard.tasks) for shard in pending)
    tasks = itertools.chain.from_iterable(shard.tasks for shard in pending)
    outcomes = to_records_in_order(tasks)
    outcomes = tracked(outcomes, "convert", total, unit="images")
    for shard in pending:
        mine = itertools.islice(outcomes, len(shard.tasks))
        durable.write_json(done[shard.name], _write_shard(config, shard, mine))
    facts = {}
    for shard in planned:
        facts[shard.name] = durable.read_json(done[shard.name], fix=_OTHER_CONFIG)
        paths = {task.image_id: task.path for task in shard.tasks}
        for image_id, (code, reason, fix) in facts[shard.name]["rejected"].items():
            bad.add(paths[image_id], InputError(code, reason, fix=fix))
    return facts


def _pixels(config: ConvertConfig) -> Pixels:
    return Pixels(
        **{
            field.name: getattr(config, field.name)
            for field in dataclasses.fields(Pixels)
        }
    )


def _write_shard(config: ConvertConfig, shard: PlannedShard, outcomes) -> dict:
    """Writes one shard at every size, record by record, from its images' outcomes."""
    facts: dict[str, Any] = {"sources": {}, "pixels": {}, "rejected": {}, "files": {}}
    sums = {size: [0, 0] for size in config.sizes}
    with contextlib.ExitStack() as stack:
        files = {
            size: stack.enter_context(
                shards.writer(config.output / str(size) / shard.name)
            )
            for size in config.sizes
        }
        for task, outcome in outcomes:
            if isinstance(outcome, InputError):
                fault = [outcome.code, outcome.reason, outcome.fix]
                facts["rejected"][task.image_id] = fault
                continue
            facts["sources"][task.image_id] = outcome.source_sha256
            facts["pixels"][task.image_id] = outcome.pixels_sha256
            for size, record in outcome.records.items():
                files[size].write(record)
                sums[size][0] += outcome.sums[size][0]
                sums[size][1] += outcome.sums[size][1]
    for size, file in files.items():
        facts["files"][str(size)] = {
            "num_records": file.num_records,
            "num_bytes": file.num_bytes,
            "sha256": file.digest.hexdigest(),
            "sums": sums[size],
        }
    return facts


def _refuse_too_many_bad(config, planned, bad) -> None:
    total = sum(len(shard.tasks) for shard in planned)
    if len(bad) > config.max_bad_fraction * (total + len(bad)):
        if config.output.exists():
            bad.write(config.output)
        for path, code, reason, fix in bad.rows()[:_SHOWN]:
            logging.warning("%s: %s, %s; %s", path, code, reason, fix)
        raise CommandError(
            ExitCode.TOO_MANY_BAD,
            f"{len(bad)} of {total + len(bad)} inputs are bad; nothing was published",
            fix="fix them or raise --max_bad_fraction",
        )


def _publish(config, planned, facts, bad, inputs) -> None:
    bad.write(config.output)
    splits, hashes = [], []
    for shard in planned:
        for task in shard.tasks:
            digest = facts[shard.name]["sources"].get(task.image_id)
            if digest:
                hashes.append((task.image_id, digest))
                splits.append((task.image_id, task.fold))
    with_fold = [(i, fold) for i, fold in splits if fold >= 0]
    _write_table(config.output / FOLDS_FILE, ("ImageId", "fold"), with_fold)
    _write_table(config.output / SOURCES_FILE, ("ImageId", "sha256"), hashes)
    _warn_of_duplicates(facts, dict(splits))
    for size in config.sizes:
        manifest.write(
            config.output / str(size), _manifest(config, size, planned, facts, inputs)
        )


def _write_table(path, header, rows) -> None:
    lines = [",".join(map(str, row)) for row in [header, *sorted(rows)]]
    durable.write_text(path, "".join(f"{line}\n" for line in lines))


def _warn_of_duplicates(facts, fold_of: dict[str, int]) -> None:
    """Tells of one picture under several ids, worst if in several folds."""
    same: dict[str, list[str]] = {}
    for shard in facts.values():
        for image_id, digest in shard["pixels"].items():
            same.setdefault(digest, []).append(image_id)
    for ids in same.values():
        if len(ids) > 1:
            torn = len({fold_of[i] for i in ids}) > 1
            logging.warning(
                "DUP_PIXELS: %s are one picture%s",
                ", ".join(sorted(ids)),
                " in several folds; give them one patient in --group_csv" * torn,
            )


def _manifest(config, size, planned, facts, inputs) -> manifest.Manifest:
    written = []
    total = squares = num_pixels = 0
    sources = hashlib.sha256()
    for shard in planned:
        file = dict(facts[shard.name]["files"][str(size)])
        sums = file.pop("sums")
        written.append(
            shards.Shard(
                name=shard.name,
                split=shard.split,
                fold=shard.fold,
                label=shard.label,
                **file,
            )
        )
        for image_id, digest in facts[shard.name]["sources"].items():
            sources.update(f"{image_id}:{digest}\n".encode())
        if shard.split == shards.TRAIN_SPLIT:
            total, squares = total + sums[0], squares + sums[1]
            num_pixels += file["num_records"] * size * size
    # A dataset of test images alone has no statistics of its own.
    mean = total / max(1, num_pixels)
    return manifest.Manifest(
        image_size=size,
        num_folds=len({s.fold for s in planned if s.split == shards.TRAIN_SPLIT}),
        options=_options(config, size, inputs),
        mean=mean,
        std=(squares / max(1, num_pixels) - mean * mean) ** 0.5,
        source_fingerprint=sources.hexdigest(),
        shards=tuple(written),
    )


def _exit_code(config: ConvertConfig, rows: list[quarantine.Row]) -> ExitCode:
    for path, code, reason, fix in rows[:_SHOWN]:
        logging.warning("quarantined %s: %s, %s; %s", path, code, reason, fix)
    if len(rows) > _SHOWN:
        logging.warning("... and %d more", len(rows) - _SHOWN)
    if len(rows) > config.allow_quarantined:
        return ExitCode.QUARANTINED
    return ExitCode.DONE
