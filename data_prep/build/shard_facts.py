"""What became of the images of each shard, in a JSON file per shard of the work folder.

The name of the file says what is being built, so the facts that an attempt at an
earlier conversion leaves late are nobody's.
"""

import dataclasses
import logging
import pathlib
from collections.abc import Collection
from collections.abc import Iterable

from data_prep.build import work_folder
from data_prep.config import ConvertConfig
from data_prep.core import durable


@dataclasses.dataclass(frozen=True, kw_only=True)
class FileFacts:
    """One file of a shard: its records at one size.

    Attributes:
      num_records: how many records it holds.
      num_bytes: its size.
      sha256: of its bytes.
      sums: sum of all intensities and sum of their squares, both exact.
    """

    num_records: int
    num_bytes: int
    sha256: str
    sums: tuple[int, int]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShardFacts:
    """What became of the images of one shard.

    Attributes:
      sources: {image id: sha256 of its source file}, in the order of the records.
      pixels: {image id: sha256 of one of its images}.
      looks: {image id: perceptual hash of its largest image}.
      rejected: {image id: (code, reason, fix)} of images that could not be decoded.
      files: {size in pixels: the file of that size}.
      notices: {image id: codes}, of the images that have any.
      spacings: {image id: the fields of a Spacing, see data_prep/pixels/
        dicom_spacing.py}, of the images that have one.
    """

    sources: dict[str, str]
    pixels: dict[str, str]
    looks: dict[str, str]
    rejected: dict[str, tuple[str, str, str]]
    files: dict[int, FileFacts]
    notices: dict[str, tuple[str, ...]]
    # Facts that an earlier release has left lack it.
    spacings: dict[str, tuple[float, float, str]] = dataclasses.field(
        default_factory=dict
    )


def exist(config: ConvertConfig, name: str) -> bool:
    """Returns whether a shard of what is being built was finished, by any run."""
    return _file(config, name).exists()


def finished(config: ConvertConfig) -> dict[str, pathlib.Path]:
    """Returns {name: file of its facts} of the finished shards, by one listing.

    Asking for each name would make NFS say for a minute that a file which comes later
    is not there.
    """
    suffix = _suffix(config)
    return {
        file.name.removesuffix(suffix): file
        for file in all_files(config)
        if file.name.endswith(suffix)
    }


def all_files(config: ConvertConfig) -> list[pathlib.Path]:
    """Returns the files of facts, also of what is not being built any more."""
    folder = work_folder.path(config)
    return [f for f in folder.glob("*.json") if ".tfrecord-" in f.name]


def drop(files: Iterable[pathlib.Path]) -> None:
    """Deletes files of facts; these shards are to be written again."""
    for file in files:
        file.unlink(missing_ok=True)


def write(
    config: ConvertConfig,
    name: str,
    facts: ShardFacts,
    *,
    claim: str,
) -> None:
    """Writes the facts of a finished shard.

    Args:
      config: the conversion.
      name: of the shard.
      facts: of the shard.
      claim: `work_folder.claim_digest` of what the attempt at it is part of.

    Raises:
      CommandError: the work folder is gone, of which no other is made.
    """
    file = work_folder.path(config) / f"{name}{_suffix_of(claim)}"
    durable.write_json(file, dataclasses.asdict(facts), make_folder=False)


def read(config: ConvertConfig, name: str) -> ShardFacts:
    """Reads what `write` wrote."""
    stored = durable.read_json(_file(config, name), fix=work_folder.OTHER_OUTPUT)
    files = {int(size): FileFacts(**file) for size, file in stored["files"].items()}
    return ShardFacts(**stored | {"files": files})


def drop_mixed(config: ConvertConfig, of_all: dict[str, ShardFacts]) -> list[str]:
    """Drops the facts of shards whose files are those of another attempt.

    Two attempts write the same bytes, unless only one of them refused a film: for lack
    of memory or time, say. Call it only when no attempt can replace a file any more.

    Args:
      config: the conversion.
      of_all: {shard name: its facts}.

    Returns:
      The names of these shards, which are to be written again.
    """
    mixed = [
        name
        for name, of_shard in of_all.items()
        if not all(
            _is_file_of(config.output / str(size) / name, file, of_shard.rejected)
            for size, file in of_shard.files.items()
        )
    ]
    drop([_file(config, name) for name in mixed])
    if mixed:
        logging.warning(
            "%d shard(s) were written twice at once with different outcomes, and are "
            "written again; the first is %s",
            len(mixed),
            mixed[0],
        )
    return mixed


def _is_file_of(file: pathlib.Path, facts: FileFacts, rejected: Collection) -> bool:
    if not file.exists() or file.stat().st_size != facts.num_bytes:
        return False
    # Two attempts that refused different films may have written as many bytes.
    return not rejected or durable.sha256(file) == facts.sha256


def _file(config: ConvertConfig, name: str) -> pathlib.Path:
    return work_folder.path(config) / f"{name}{_suffix(config)}"


def _suffix(config: ConvertConfig) -> str:
    return _suffix_of(work_folder.claim_digest(config))


def _suffix_of(claim: str) -> str:
    return f".{claim[:16]}.json"
