"""Converts a source folder to datasets: plan, write shard by shard, publish.

A shard is the unit of work. It is written aside and renamed, then its facts go
to a small file in `.work/`; a conversion that was stopped anywhere skips the
shards that have both and ends with the same bytes. `dataset.json` comes last.
"""

import functools
import hashlib
import itertools
import logging
import shutil
from typing import Any

from data_prep import clahe
from data_prep import durable
from data_prep import manifest
from data_prep import plan
from data_prep import quarantine
from data_prep import shards
from data_prep import workers
from data_prep.config import ConvertConfig
from data_prep.failures import ExitCode
from data_prep.failures import Failure
from data_prep.failures import Rejected
from data_prep.image_records import Converted
from data_prep.image_records import Pixels
from data_prep.image_records import convert as convert_image
from data_prep.plan import PlannedShard
from data_prep.progress import tracked
from data_prep.quarantine import Quarantine

LIMITS = workers.Limits(memory_bytes=2 << 30, seconds=30)
FOLDS_FILE = "folds.csv"
_WORK = ".work"
_OTHER_CONFIG = "choose another --output, or delete this one"


def convert(config: ConvertConfig) -> ExitCode:
    """Converts, or continues or confirms an earlier run of the same command.

    Returns:
      DONE, or QUARANTINED where more inputs were refused than allowed for.

    Raises:
      Failure: bad flags, a conflicting output, or too many bad inputs.
    """
    clahe.parse(config.clahe)
    with durable.locked(config.output):
        if _published(config):
            logging.info("%s is already complete", config.output)
        else:
            _build(config)
        shutil.rmtree(config.output / _WORK, ignore_errors=True)
    return _exit_code(config)


def _build(config: ConvertConfig) -> None:
    bad = Quarantine(*filter(None, [config.source, config.test_source]))
    planned = plan.make(config, LIMITS, bad)
    # Asked twice: before hours of decoding, and with what the decoding found.
    _refuse_too_many_bad(config, planned, bad)
    _claim(config, planned)
    facts = _write_shards(config, planned, bad)
    _refuse_too_many_bad(config, planned, bad)
    _publish(config, planned, facts, bad)


def _published(config: ConvertConfig) -> bool:
    """Tells whether all sizes are complete; another configuration is a Failure."""
    complete = []
    for size in config.sizes:
        folder = config.output / str(size)
        if not (folder / manifest.FILE_NAME).exists():
            continue
        stored = manifest.read(folder)
        durable.refuse_other_config(
            folder,
            stored.options,
            durable.plain(config.options(size)),
            mend=_OTHER_CONFIG,
        )
        manifest.check_shards(folder, list(stored.shards))
        complete.append(size)
    return complete == list(config.sizes)


def _claim(config: ConvertConfig, planned: list[PlannedShard]) -> None:
    """Records what is being built, or refuses if something else was begun here."""
    claim = config.output / _WORK / "plan.json"
    wanted = durable.plain(
        {
            "sizes": config.sizes,
            **config.options(0),
            "inputs": plan.fingerprint(planned),
        }
    )
    if claim.exists():
        stored = durable.read_json(claim, mend=_OTHER_CONFIG)
        durable.refuse_other_config(config.output, stored, wanted, mend=_OTHER_CONFIG)
    durable.write_json(claim, wanted)


def _write_shards(config, planned, bad) -> dict[str, dict[str, Any]]:
    """Writes every shard that is not there yet; returns {shard name: its facts}."""
    done = {s.name: config.output / _WORK / f"{s.name}.json" for s in planned}
    pending = [shard for shard in planned if not done[shard.name].exists()]
    total = sum(len(shard.tasks) for shard in pending)
    # One crew for all shards: starting a worker takes longer than many images.
    outcomes = workers.in_order(
        functools.partial(convert_image, _pixels(config)),
        itertools.chain.from_iterable(shard.tasks for shard in pending),
        num_workers=config.num_workers,
        limits=LIMITS,
    )
    outcomes = tracked(outcomes, "convert", total, unit="images")
    for shard in pending:
        mine = itertools.islice(outcomes, len(shard.tasks))
        durable.write_json(done[shard.name], _write_shard(config, shard, mine))
    facts = {}
    for shard in planned:
        facts[shard.name] = durable.read_json(done[shard.name], mend=_OTHER_CONFIG)
        paths = {task.image_id: task.path for task in shard.tasks}
        for image_id, (code, reason, mend) in facts[shard.name]["rejected"].items():
            bad.add(paths[image_id], Rejected(code, reason, mend=mend))
    return facts


def _pixels(config: ConvertConfig) -> Pixels:
    return Pixels(
        sizes=config.sizes,
        clahe=config.clahe,
        interpolation=config.interpolation,
        pixel_encoding=config.pixel_encoding,
    )


def _write_shard(config: ConvertConfig, shard: PlannedShard, outcomes) -> dict:
    """Writes one shard at every size from its images' outcomes."""
    records: dict[int, list[bytes]] = {size: [] for size in config.sizes}
    sums = {size: [0, 0] for size in config.sizes}
    facts: dict[str, Any] = {"sources": {}, "rejected": {}, "files": {}}
    for task, outcome in outcomes:
        if isinstance(outcome, Rejected):
            fault = [outcome.code, outcome.reason, outcome.mend]
            facts["rejected"][task.image_id] = fault
            continue
        facts["sources"][task.image_id] = outcome.source_sha256
        _collect(outcome, records, sums)
    for size in config.sizes:
        path = config.output / str(size) / shard.name
        count, num_bytes, digest = shards.write(path, records[size])
        facts["files"][str(size)] = {
            "num_records": count,
            "num_bytes": num_bytes,
            "sha256": digest,
            "sums": sums[size],
        }
    return facts


def _collect(outcome: Converted, records, sums) -> None:
    for size, record in outcome.records.items():
        records[size].append(record)
        sums[size][0] += outcome.sums[size][0]
        sums[size][1] += outcome.sums[size][1]


def _refuse_too_many_bad(config, planned, bad) -> None:
    total = sum(len(shard.tasks) for shard in planned)
    if len(bad) > config.max_bad_fraction * (total + len(bad)):
        bad.write(config.output)
        raise Failure(
            ExitCode.TOO_MANY_BAD,
            f"{len(bad)} inputs are bad, see "
            f"{config.output / quarantine.FILE_NAME}; nothing was published",
            mend="mend them or raise --max_bad_fraction",
        )


def _publish(config, planned, facts, bad) -> None:
    bad.write(config.output)
    lines = ["ImageId,fold"]
    for shard in planned:
        for task in shard.tasks:
            if task.image_id in facts[shard.name]["sources"] and task.fold >= 0:
                lines.append(f"{task.image_id},{task.fold}")
    text = "\n".join([lines[0], *sorted(lines[1:])]) + "\n"
    durable.write_text(config.output / FOLDS_FILE, text)
    for size in config.sizes:
        manifest.write(
            config.output / str(size), _manifest(config, size, planned, facts)
        )


def _manifest(config, size, planned, facts) -> manifest.Manifest:
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
    mean = total / num_pixels
    return manifest.Manifest(
        image_size=size,
        num_folds=config.num_folds,
        options=config.options(size),
        mean=mean,
        std=(squares / num_pixels - mean * mean) ** 0.5,
        source_fingerprint=sources.hexdigest(),
        shards=tuple(written),
    )


def _exit_code(config: ConvertConfig) -> ExitCode:
    rows = quarantine.read(config.output)
    for path, code, reason, mend in rows:
        logging.warning("quarantined %s: %s, %s; %s", path, code, reason, mend)
    if len(rows) > config.allow_quarantined:
        return ExitCode.QUARANTINED
    return ExitCode.DONE
