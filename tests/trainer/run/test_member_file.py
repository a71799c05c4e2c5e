"""A member file reads like its run folder, and a bad one is refused by its name."""

import os
import random
import shutil
import stat
import zipfile

import pytest

from data_prep.core import durable
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from tests.trainer.run import member_files
from trainer.run import member_archive
from trainer.run import member_file
from trainer.run import run_folder

WEIGHTS = member_files.WEIGHTS


@pytest.fixture
def sound(tmp_path, cache):
    return member_files.write_sound(tmp_path / "made")


@pytest.fixture
def files(tmp_path):
    return member_files.sound_files(tmp_path / "made")


def refused(tmp_path, cache_less_path, message):
    """Checks that a zip is refused in one line that names it, and leaves nothing."""
    with pytest.raises(CommandError, match=message) as e:
        run_folder.open_finished(cache_less_path)
    assert e.value.exit_code == ExitCode.CORRUPT
    assert str(cache_less_path) in str(e.value)
    assert "\n" not in str(e.value)
    left = tmp_path / "cache-of-copies" / "members"
    assert not any(p.is_dir() for p in left.glob("*"))
    assert not any((tmp_path / "cache-of-copies" / "outgoing").glob("*"))


def test_a_member_file_reads_like_a_run(sound, cache):
    run = run_folder.open_finished(sound)
    assert run.path == sound
    assert run.config["fold"] == 1
    assert run.config["fused"] is True, "what earlier versions did"
    assert run.dataset["image_size"] == 32
    path = run.verified_weights("swa")
    assert path.name == WEIGHTS
    assert path.is_relative_to(cache / "members" / durable.sha256(sound))
    with pytest.raises(CommandError, match=rf"{sound} has no weights 'best'") as e:
        run.verified_weights("best")
    assert e.value.exit_code == ExitCode.FLAGS


def test_what_was_unpacked_is_used_again_and_mended(sound, cache, tmp_path):
    run_folder.open_finished(sound)
    # Another process knows nothing of it; neither does a copy of the file.
    copy = tmp_path / "copy.zip"
    shutil.copy(sound, copy)
    [folder] = [p for p in (cache / "members").iterdir() if p.is_dir()]
    before = (folder / WEIGHTS).stat().st_mtime_ns
    run_folder.open_finished(copy)
    assert (folder / WEIGHTS).stat().st_mtime_ns == before
    (folder / WEIGHTS).write_bytes(b"damaged")
    other = tmp_path / "other.zip"
    shutil.copy(sound, other)
    path = run_folder.open_finished(other).verified_weights("swa")
    assert path == folder / WEIGHTS


def test_another_file_of_the_same_name_is_read_anew(sound, tmp_path):
    run_folder.open_finished(sound)
    config = {"model": "unet", "precision": "float32", "fold": 2}
    files = member_files.sound_files(tmp_path / "made", config=config)
    manifest = member_files.manifest(tmp_path / "made", files)
    member_files.write(sound, {"member.json": manifest} | files)
    os.utime(sound, ns=(1, 1))
    assert run_folder.open_finished(sound).config["fold"] == 2


def test_a_missing_file_is_named(tmp_path, cache):
    with pytest.raises(CommandError, match=r"no member file at .*none\.zip") as e:
        run_folder.open_finished(tmp_path / "none.zip")
    assert e.value.exit_code == ExitCode.FLAGS


def test_a_folder_of_that_name_is_a_run_folder(tmp_path):
    (tmp_path / "run.zip").mkdir()
    assert not member_file.is_member_file(tmp_path / "run.zip")
    with pytest.raises(CommandError, match=r"no config\.json"):
        run_folder.open_finished(tmp_path / "run.zip")


@pytest.mark.parametrize(
    "name",
    [
        "../swa.weights.h5",
        "/etc/swa.weights.h5",
        "x/swa.weights.h5",
        "..",
        ".hidden.weights.h5",
        "swa.weights.h5/",
        "x\\swa.weights.h5",
        "run.py",
        "GUARD.npz",
        "",
        "swa.weights.h5\0.txt",
        "a" * 70 + ".weights.h5",
    ],
)
def test_other_names_are_refused(tmp_path, cache, files, name):
    files[name] = b"x"
    manifest = member_files.manifest(tmp_path / "made", files)
    path = tmp_path / "bad.zip"
    # writestr cuts a name at its zero byte.
    placeholder = "z" * len(name)
    written = {"member.json": manifest} | {
        placeholder if n == name else n: d for n, d in files.items()
    }
    member_files.write(path, written)
    path.write_bytes(
        path.read_bytes().replace(placeholder.encode(), name.encode())
        if name
        else path.read_bytes()
    )
    refused(tmp_path, path, "which no member has|no zip, or a damaged one")
    assert not (tmp_path / WEIGHTS).exists()


@pytest.mark.parametrize(
    ("kind", "is_refused"),
    [
        (stat.S_IFLNK, True),
        (stat.S_IFDIR, True),
        (stat.S_IFIFO, True),
        (stat.S_IFREG, False),
    ],
)
def test_links_are_refused(tmp_path, cache, files, kind, is_refused):
    manifest = member_files.manifest(tmp_path / "made", files)
    path = member_files.write(
        tmp_path / "bad.zip",
        {"member.json": manifest} | files,
        **{WEIGHTS: {"external_attr": (kind | 0o644) << 16}},
    )
    if is_refused:
        refused(tmp_path, path, "is a link or no plain file")
    else:
        run_folder.open_finished(path)


def test_duplicates_are_refused(tmp_path, cache, files):
    manifest = member_files.manifest(tmp_path / "made", files)
    path = member_files.write(tmp_path / "bad.zip", {"member.json": manifest} | files)
    with (
        pytest.warns(UserWarning, match="Duplicate name"),
        zipfile.ZipFile(path, "a") as archive,
    ):
        archive.writestr(WEIGHTS, files[WEIGHTS])
    refused(tmp_path, path, f"the file '{WEIGHTS}' twice")


def test_too_many_files_are_refused(tmp_path, cache, files):
    for k in range(70):
        files[f"epoch{k:05d}.weights.h5"] = b"x"
    manifest = member_files.manifest(tmp_path / "made", files)
    path = member_files.write(tmp_path / "bad.zip", {"member.json": manifest} | files)
    refused(tmp_path, path, "has 74 files, of at most 64")


@pytest.mark.parametrize(
    ("leave_out", "add", "message"),
    [
        ([], ["best.weights.h5"], r"differ in whether it has 'best\.weights\.h5'"),
        ([WEIGHTS], [], r"differ in whether it has 'swa\.weights\.h5'"),
        (["result.json"], [], r"differ in whether it has 'result\.json'"),
        (["member.json"], [], r"has no member\.json"),
    ],
)
def test_more_and_fewer_files_are_refused(
    tmp_path, cache, files, leave_out, add, message
):
    manifest = member_files.manifest(tmp_path / "made", files)
    whole = {"member.json": manifest} | files | dict.fromkeys(add, b"x")
    kept = {n: d for n, d in whole.items() if n not in leave_out}
    refused(tmp_path, member_files.write(tmp_path / "bad.zip", kept), message)


@pytest.mark.parametrize("name", ["config.json", "result.json", WEIGHTS])
def test_files_that_the_manifest_does_not_list_are_missing(
    tmp_path, cache, files, name
):
    """Zip and manifest agree, but it is no whole member."""
    del files[name]
    manifest = member_files.manifest(tmp_path / "made", files)
    path = member_files.write(tmp_path / "bad.zip", {"member.json": manifest} | files)
    refused(tmp_path, path, f"has no {name}|other weights than those")


@pytest.mark.parametrize("name", ["config.json", "result.json", WEIGHTS])
def test_another_sha256_is_refused(tmp_path, cache, files, name):
    manifest = member_files.manifest(tmp_path / "made", files)
    files[name] = files[name][:-1] + b"?"
    path = member_files.write(tmp_path / "bad.zip", {"member.json": manifest} | files)
    refused(tmp_path, path, f"a file {name} of another sha256")


def test_weights_of_another_run_are_refused(tmp_path, cache, files):
    """The manifest is right about them, and result.json is not."""
    files[WEIGHTS] = b"other"
    manifest = member_files.manifest(tmp_path / "made", files)
    path = member_files.write(tmp_path / "bad.zip", {"member.json": manifest} | files)
    refused(tmp_path, path, r"other weights than those of its result\.json")


def test_a_description_of_other_films_is_refused(tmp_path, cache, files):
    files["guard.npz"] = b"of nobody knows which films"
    manifest = member_files.manifest(tmp_path / "made", files)
    path = member_files.write(tmp_path / "bad.zip", {"member.json": manifest} | files)
    refused(tmp_path, path, r"another guard\.npz than that of its result\.json")


def test_a_config_of_another_run_is_refused(tmp_path, cache, files):
    other = member_files.sound_files(
        tmp_path / "other", config={"model": "x", "precision": "float32", "fold": 0}
    )
    files["config.json"] = other["config.json"]
    manifest = member_files.manifest(tmp_path / "made", files)
    path = member_files.write(tmp_path / "bad.zip", {"member.json": manifest} | files)
    refused(tmp_path, path, r"a config\.json that is not that of its result\.json")


@pytest.mark.parametrize(
    "changes",
    [
        {"path": "/etc"},
        {"config": []},
        {"config": {"model": 3, "precision": "float32", "fold": 0}},
        {"config": {"model": "tiny", "precision": "float8", "fold": 0}},
        {"config": {"model": "tiny", "precision": "float32"}},
        {"dataset": {}},
    ],
)
def test_a_config_that_is_none_is_refused(tmp_path, cache, changes):
    files = member_files.sound_files(tmp_path / "made", **changes)
    manifest = member_files.manifest(tmp_path / "made", files)
    path = member_files.write(tmp_path / "bad.zip", {"member.json": manifest} | files)
    refused(tmp_path, path, r"a config\.json that is not of a run")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "has the format '2', this version reads 1"),
        ({"format": None}, "has the format 'None'"),
        ({"files": []}, r"a member\.json without files"),
        ({"files": {"x": "ab"}}, "without the sha256 of 'x'"),
        ({"files": {"x": {"sha256": 3}}}, "without the sha256 of 'x'"),
    ],
)
def test_a_bad_manifest_is_refused(tmp_path, cache, files, changes, message):
    manifest = member_files.manifest(tmp_path / "made", files, **changes)
    path = member_files.write(tmp_path / "bad.zip", {"member.json": manifest} | files)
    refused(tmp_path, path, message)


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"format": 1}', b"\xff"])
def test_a_manifest_that_is_no_json_of_ours_is_refused(tmp_path, cache, files, content):
    path = member_files.write(tmp_path / "bad.zip", {"member.json": content} | files)
    refused(tmp_path, path, r"a member\.json that is no JSON of its own sha256")


def test_compression_is_refused(tmp_path, cache, files):
    """A bomb of a gigabyte takes a megabyte; none is unpacked to see its size."""
    manifest = member_files.manifest(tmp_path / "made", files)
    path = tmp_path / "bad.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in ({"member.json": manifest} | files).items():
            archive.writestr(name, data)
    refused(tmp_path, path, "compressed")


def test_a_json_that_is_too_large_is_refused(tmp_path, cache, files):
    files["config.json"] = b" " * (2 << 20)
    manifest = member_files.manifest(tmp_path / "made", files)
    path = member_files.write(tmp_path / "bad.zip", {"member.json": manifest} | files)
    refused(tmp_path, path, r"has config\.json of 2,097,152 bytes")


def test_entries_that_share_bytes_are_refused(tmp_path, cache, files):
    """Many names for one block of bytes would fill a disk."""
    for k in range(20):
        files[f"epoch{k:05d}.weights.h5"] = b"x"
    manifest = member_files.manifest(tmp_path / "made", files)
    path = member_files.write(tmp_path / "bad.zip", {"member.json": manifest} | files)
    with zipfile.ZipFile(path) as archive:
        infos = archive.infolist()
    data = bytearray(path.read_bytes())
    directory = data.rindex(b"PK\x05\x06")
    at = int.from_bytes(data[directory + 16 : directory + 20], "little")
    large = max(infos, key=lambda i: i.file_size)
    for info in infos:
        if info.filename.startswith("epoch"):
            for offset in (20, 24):
                data[at + offset : at + offset + 4] = large.file_size.to_bytes(
                    4, "little"
                )
        at += 46 + len(info.filename)
    path.write_bytes(data)
    refused(tmp_path, path, "holds more bytes than it has")


def test_encryption_is_refused(tmp_path, cache, sound):
    data = bytearray(sound.read_bytes())
    at = data.index(b"PK\x01\x02")
    while at >= 0:
        data[at + 8] |= 1
        at = data.find(b"PK\x01\x02", at + 1)
    path = tmp_path / "bad.zip"
    path.write_bytes(data)
    refused(tmp_path, path, r"the file 'member\.json' encrypted")


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.9, 0.999])
def test_a_cut_file_is_refused(tmp_path, cache, sound, share):
    data = sound.read_bytes()
    path = tmp_path / "cut.zip"
    path.write_bytes(data[: int(len(data) * share)])
    refused(tmp_path, path, "is no zip, or a damaged one")


def test_flipped_bits_are_refused_or_harmless(tmp_path, sound):
    """Of the zip's own fields some say nothing, such as the time of a file."""
    data, draw, refusals = sound.read_bytes(), random.Random(0), 0
    wanted = {n: d for n, d in _contents(sound, tmp_path / "whole").items()}
    directory = data.index(b"PK\x01\x02")
    for k in range(400):
        damaged = bytearray(data)
        low = directory if k % 2 else 0
        damaged[draw.randrange(low, len(data))] ^= 1 << draw.randrange(8)
        path = tmp_path / "flipped.zip"
        path.write_bytes(damaged)
        found = _contents(path, tmp_path / f"{k}")
        assert found in (wanted, None)
        refusals += found is None
    assert 250 < refusals < 400


def _contents(path, folder):
    """Returns {name: bytes} of a member file, or None if it is refused."""
    folder.mkdir()
    try:
        member_archive.unpack(path, folder)
    except CommandError as e:
        return None if (e.exit_code, str(path) in str(e)) == (7, True) else e
    return {p.name: p.read_bytes() for p in folder.iterdir()}


@pytest.mark.parametrize("store", ["memory"], indirect=True)
def test_from_a_store(store, sound, cache):
    remote_file = store / "member.zip"
    remote_file.write_bytes(sound.read_bytes())
    run = run_folder.open_finished(remote_file)
    assert run.verified_weights("swa").is_relative_to(cache)
    missing = store / "missing.zip"
    with pytest.raises(CommandError, match=r"no member file at .*missing\.zip"):
        run_folder.open_finished(missing)
    bad = store / "bad.zip"
    bad.write_bytes(sound.read_bytes()[:-30])
    with pytest.raises(CommandError, match=r"bad\.zip is no zip") as e:
        run_folder.open_finished(bad)
    assert str(bad) in str(e.value)
