"""Takes a member file apart, and believes in it nothing but what its hashes confirm.

A member file is a finished run in one zip, to hand on, and is taken from anybody:

member.json          format, and the sha256 of each other file
config.json          of the run folder, without paths
result.json          likewise; knows the sha256 of config.json and of the weights
*.weights.h5         some of the run's weights
guard.npz            description of the films that it was trained on, if it has one

inference/artefact/member_file.py writes it. Its files are stored as they are, so that
none is larger unpacked than packed.
"""

import errno
import hashlib
import pathlib
import re
import stat
import struct
import zipfile
from typing import Any

from data_prep.core import durable
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode

MANIFEST = "member.json"
CONFIG = "config.json"
RESULT = "result.json"
FORMAT = 1
# The only other file, and the key of result.json with its sha256.
GUARD, GUARD_KEY = "guard.npz", "guard"
_WEIGHTS = re.compile(r"[A-Za-z0-9_]{1,64}\.weights\.h5")
_MAX_FILES = 64
_MAX_JSON = 1 << 20
_BLOCK = 1 << 20
_FIX = "get the file again from whoever packed it"
_PRECISIONS = ("float32", "mixed_float16", "mixed_bfloat16")
# What the reader of a zip raises for damage.
_DAMAGE = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    NotImplementedError,
    RuntimeError,
    EOFError,
    ValueError,
    OverflowError,
    struct.error,
)


def unpack(
    file: pathlib.Path, folder: pathlib.Path, *, named: pathlib.Path | None = None
) -> None:
    """Unpacks a member file into an empty folder.

    Args:
      file: the zip.
      folder: where to.
      named: the file as the user has named it; None for `file`.

    Raises:
      CommandError: CORRUPT, with the zip's name: it has other files than its manifest
        says or other bytes, or one that is no plain stored file of a member.
    """
    named = named or file
    try:
        with zipfile.ZipFile(file) as archive:
            infos = _checked_names(archive.infolist(), file.stat().st_size, named)
            _unpack_all(archive, infos, folder, named)
    except _DAMAGE as e:
        raise _bad(named, f"is no zip, or a damaged one ({e})") from e
    except OSError as e:
        # A place before the file's begin, which the zip names.
        if e.errno != errno.EINVAL:
            raise
        raise _bad(named, "is a damaged zip") from e
    _check_contents(folder, named)


def _checked_names(
    infos: list[zipfile.ZipInfo], num_bytes: int, named: pathlib.Path
) -> dict[str, zipfile.ZipInfo]:
    """Returns {name: entry}, after a look at all that can be wrong with an entry."""
    if len(infos) > _MAX_FILES:
        raise _bad(named, f"has {len(infos)} files, of at most {_MAX_FILES}")
    by_name: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        name = info.orig_filename
        what = f"has the file {name[:80]!r}"
        if not is_allowed(name) or info.filename != name:
            raise _bad(named, f"{what}, which no member has")
        if name in by_name:
            raise _bad(named, f"{what} twice")
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG):
            raise _bad(named, f"{what}, which is a link or no plain file")
        # Bit 0 is encryption, bit 5 a patch, bit 6 strong encryption.
        if info.flag_bits & 0b1100001:
            raise _bad(named, f"{what} encrypted")
        if info.compress_type != zipfile.ZIP_STORED:
            raise _bad(named, f"{what} compressed")
        if info.compress_size != info.file_size:
            raise _bad(named, f"{what} with two sizes")
        by_name[name] = info
    # Entries that share bytes could fill a disk.
    if sum(info.file_size for info in infos) > num_bytes:
        raise _bad(named, "says that it holds more bytes than it has")
    return by_name


def is_allowed(name: str) -> bool:
    """Returns whether a member file may hold a file of this name."""
    plain = (MANIFEST, CONFIG, RESULT, GUARD)
    return name in plain or bool(_WEIGHTS.fullmatch(name))


def _unpack_all(
    archive: zipfile.ZipFile,
    infos: dict[str, zipfile.ZipInfo],
    folder: pathlib.Path,
    named: pathlib.Path,
) -> None:
    if MANIFEST not in infos:
        raise _bad(named, f"has no {MANIFEST}")
    for name in (MANIFEST, CONFIG, RESULT):
        if name in infos and infos[name].file_size > _MAX_JSON:
            raise _bad(named, f"has {name} of {infos[name].file_size:,} bytes")
    _copy(archive, infos[MANIFEST], folder)
    files = _manifest_files(folder, named)
    if files.keys() != infos.keys() - {MANIFEST}:
        other = sorted(files.keys() ^ (infos.keys() - {MANIFEST}))[0]
        raise _bad(named, f"and its {MANIFEST} differ in whether it has {other[:80]!r}")
    for name, sha256 in sorted(files.items()):
        if _copy(archive, infos[name], folder) != sha256:
            raise _bad(named, f"has a file {name} of another sha256 than it says")


def _manifest_files(folder: pathlib.Path, named: pathlib.Path) -> dict[str, str]:
    """Returns {name: sha256} of the files that the manifest lists."""
    manifest = _json(folder, MANIFEST, named)
    if manifest.get("format") != FORMAT:
        raise CommandError(
            ExitCode.CORRUPT,
            f"{named} has the format {str(manifest.get('format'))[:20]!r}, this "
            f"version reads {FORMAT}",
            fix="use the version that packed it, or have it packed again",
        )
    files = manifest.get("files")
    if not isinstance(files, dict):
        raise _bad(named, f"has a {MANIFEST} without files")
    hashes = {}
    for name, facts in files.items():
        sha256 = facts.get("sha256") if isinstance(facts, dict) else None
        if not isinstance(sha256, str):
            raise _bad(named, f"has a {MANIFEST} without the sha256 of {name[:80]!r}")
        hashes[name] = sha256
    return hashes


def _copy(archive: zipfile.ZipFile, info: zipfile.ZipInfo, folder: pathlib.Path) -> str:
    """Unpacks an entry, by no path of the zip's; returns its sha256."""
    digest = hashlib.sha256()
    with archive.open(info) as source, (folder / info.filename).open("xb") as target:
        while block := source.read(_BLOCK):
            digest.update(block)
            target.write(block)
    return digest.hexdigest()


def _check_contents(folder: pathlib.Path, named: pathlib.Path) -> None:
    """Raises a CommandError unless config and result are those of one finished run."""
    for name in (CONFIG, RESULT):
        if not (folder / name).is_file():
            raise _bad(named, f"has no {name}")
    stored, result = _json(folder, CONFIG, named), _json(folder, RESULT, named)
    if not _is_run(stored):
        raise _bad(named, f"has a {CONFIG} that is not of a run")
    if result.get("config_sha256") != durable.sha256(folder / CONFIG):
        raise _bad(named, f"has a {CONFIG} that is not that of its {RESULT}")
    found = {p.name: durable.sha256(p) for p in folder.glob("*.weights.h5")}
    if not found or result.get("weights") != found:
        raise _bad(named, f"has other weights than those of its {RESULT}")
    guard = folder / GUARD
    described = durable.sha256(guard) if guard.exists() else None
    if result.get(GUARD_KEY) != described:
        raise _bad(named, f"has another {GUARD} than that of its {RESULT}")


def _is_run(stored: dict[str, Any]) -> bool:
    config, dataset = stored.get("config"), stored.get("dataset")
    if stored.keys() != {"config", "dataset"}:
        return False
    if not isinstance(config, dict) or not isinstance(dataset, dict):
        return False
    wanted = (
        (config.get("model"), str),
        (config.get("fold"), int),
        (dataset.get("image_size"), int),
        (dataset.get("num_folds"), int),
        (dataset.get("options"), dict),
        (dataset.get("source_fingerprint"), str),
    )
    is_typed = all(isinstance(value, kind) for value, kind in wanted)
    return is_typed and config.get("precision") in _PRECISIONS


def _json(folder: pathlib.Path, name: str, named: pathlib.Path) -> dict[str, Any]:
    try:
        return durable.read_json(folder / name, fix=_FIX)
    except CommandError as e:
        raise _bad(named, f"has a {name} that is no JSON of its own sha256") from e


def _bad(named: pathlib.Path, what: str) -> CommandError:
    return CommandError(ExitCode.CORRUPT, f"{named} {what}", fix=_FIX)
