"""`dataset.json`: the description of a dataset folder, without patient data."""

import dataclasses
import pathlib
import re
from collections.abc import Callable
from collections.abc import Iterable
from typing import Any

from data_prep.core import durable
from data_prep.core import local_copy
from data_prep.core import remote
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.dataset.schema_version import MASKS
from data_prep.dataset.schema_version import SCHEMA_VERSION
from data_prep.dataset.shards import RECONVERT
from data_prep.dataset.shards import TEST_SPLIT
from data_prep.dataset.shards import TRAIN_SPLIT
from data_prep.dataset.shards import Shard
from data_prep.dataset.shards import prefix

FILE_NAME = "dataset.json"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FIX = "give the folder of one size that `python -m data_prep.main` has written"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Manifest:
    """The contents of `dataset.json`.

    Attributes:
      image_size: side of every image, in pixels.
      num_folds: number of folds of the train split.
      options: every option that influenced the records.
      mean: mean intensity of the train images, in 0..255.
      std: standard deviation of their intensity, in 0..255.
      source_fingerprint: sha256 over the ids and source hashes of all images.
      shards: the files, sorted by name.
    """

    image_size: int
    num_folds: int
    options: dict[str, Any]
    mean: float
    std: float
    source_fingerprint: str
    shards: tuple[Shard, ...]

    @property
    def has_masks(self) -> bool:
        """Whether the training images have masks, and not labels alone."""
        return self.options.get("labels", MASKS) == MASKS

    def train_shards(self, folds: list[int]) -> list[Shard]:
        """Returns the shards of `folds`, sorted by name."""
        self.check_folds(folds)
        return [s for s in self.shards if s.split == TRAIN_SPLIT and s.fold in folds]

    def test_shards(self) -> list[Shard]:
        """Returns the shards of the test split, sorted by name."""
        return [s for s in self.shards if s.split == TEST_SPLIT]

    def check_folds(self, folds: list[int]) -> None:
        """Raises a CommandError for a fold that the dataset does not have."""
        known = list(range(self.num_folds))
        unknown = sorted(set(folds) - set(known))
        if unknown:
            raise CommandError(
                ExitCode.FLAGS,
                f"the dataset has folds {known}, received fold {unknown[0]}",
                fix="choose one of them or convert with another --num_folds",
            )


def pixel_options(options: dict[str, Any]) -> dict[str, Any]:
    """Returns those of a dataset's options that decide what a pixel means."""
    return {
        k: options[k] for k in ("image_size", "aspect", "interpolation", "clahe", "voi")
    }


def write(folder: pathlib.Path, manifest: Manifest) -> None:
    """Writes `dataset.json`. Call it last: for readers it is the commit."""
    durable.write_json(
        folder / FILE_NAME,
        {
            "schema_version": SCHEMA_VERSION,
            **{
                field.name: getattr(manifest, field.name)
                for field in dataclasses.fields(Manifest)
                if field.name != "shards"
            },
            "counts": counts(manifest.shards),
            "shards": [dataclasses.asdict(s) for s in manifest.shards],
        },
    )


def read(folder: pathlib.Path) -> Manifest:
    """Reads and checks `dataset.json` and the presence and size of every shard.

    Raises:
      CommandError: no dataset, another schema version, a missing or resized shard.
    """
    manifest = read_alone(folder)
    size_of = _size_of(folder)
    for shard in manifest.shards:
        path = folder / shard.name
        if size_of(path) != shard.num_bytes:
            raise CommandError(
                ExitCode.CORRUPT,
                f"{path} is missing or not {shard.num_bytes} bytes long",
                fix=RECONVERT,
            )
    return manifest


def _size_of(folder: pathlib.Path) -> Callable[[pathlib.Path], int | None]:
    """Returns what tells the size of a file in `folder`, None if it is missing."""
    if remote.is_remote(folder):
        # One listing takes as long as a question about one shard.
        return {path: path.stat().st_size for path in folder.files()}.get
    return lambda path: path.stat().st_size if path.is_file() else None


def read_alone(folder: pathlib.Path) -> Manifest:
    """Reads and checks `dataset.json` without checking the shards.

    Raises:
      CommandError: no dataset, a damaged one, or another schema version.
    """
    path = folder / FILE_NAME
    stored = durable.read_json(path, fix=_FIX)
    version = stored.pop("schema_version", None)
    if version != SCHEMA_VERSION:
        raise CommandError(
            ExitCode.CORRUPT,
            f"{path} has schema version {version}, this program reads {SCHEMA_VERSION}",
            fix=RECONVERT,
        )
    try:
        shards = tuple(_shard(path, **s) for s in stored.pop("shards"))
        del stored["counts"]
        return Manifest(**stored, shards=shards)
    except (KeyError, TypeError) as e:
        raise CommandError(
            ExitCode.CORRUPT,
            f"{path} lacks fields of a dataset or has others",
            fix=RECONVERT,
        ) from e


def _shard(path: pathlib.Path, *, name: str, sha256: str, **facts: Any) -> Shard:
    """Returns a shard; a CommandError tells of one that is no file of its folder."""
    # A dataset of somebody else must not name other files of this machine.
    if not _NAME.fullmatch(str(name)) or not _SHA256.fullmatch(str(sha256)):
        raise CommandError(
            ExitCode.CORRUPT,
            f"{path} has a shard {str(name)[:80]!r} with sha256 {str(sha256)[:80]!r}",
            fix=RECONVERT,
        )
    return Shard(name=name, sha256=sha256, **facts)


def check_shards(
    folder: pathlib.Path, shards: list[Shard], *, to_read: bool = False
) -> None:
    """Raises a CommandError that names the first shard with another sha256.

    TFRecord checksums do not detect a file that is cut between two records.

    Args:
      folder: the dataset folder.
      shards: those to check.
      to_read: whether their records are read next, for which remote ones are fetched.
    """
    if to_read and remote.is_remote(folder):
        local_files(folder, shards)
        return
    for shard in shards:
        durable.check_file(
            folder / shard.name,
            expected_sha256=shard.sha256,
            fix=RECONVERT,
        )


def local_files(folder: pathlib.Path, shards: Iterable[Shard]) -> list[pathlib.Path]:
    """Returns the shards as files of this machine; those of a store are fetched.

    Raises:
      CommandError: a remote shard is missing or has another sha256, or there is no
        room for the copies.
    """
    if not remote.is_remote(folder):
        return [folder / shard.name for shard in shards]
    return local_copy.fetch(
        [
            local_copy.Remote(
                path=folder / shard.name,
                sha256=shard.sha256,
                num_bytes=shard.num_bytes,
                fix=RECONVERT,
            )
            for shard in shards
        ]
    )


def counts(shards: tuple[Shard, ...]) -> dict[str, int]:
    """Returns the number of records per split, fold and class."""
    total: dict[str, int] = {}
    for shard in shards:
        key = prefix(shard.split, shard.fold, shard.label)
        total[key] = total.get(key, 0) + shard.num_records
    return total
