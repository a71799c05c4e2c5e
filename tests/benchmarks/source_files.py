"""The DICOM files that the conversion benchmarks read.

`data_prep.synthetic` draws them. Its two faulty files (one without a row in the csv,
one cut short) are left out, so that a script without any checks can be a peer.
"""

import dataclasses
import itertools
import os
import pathlib
import shutil
import sys
from collections.abc import Iterable

from tests.benchmarks import timing

ROOT = pathlib.Path(__file__).parents[2]
# An encapsulated file ends with this delimiter; the one cut short does not.
_END = b"\xfe\xff\xdd\xe0\0\0\0\0"
_HEADER = "ImageId,EncodedPixels"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """A folder of labelled DICOM files.

    Attributes:
      folder: holds `<image id>.dcm`.
      csv: their RLE rows.
      count: how many files there are.
    """

    folder: pathlib.Path
    csv: pathlib.Path
    count: int


def draw(folder: pathlib.Path, *, count: int, size: int) -> None:
    """Draws `count` sound files and two faulty ones of `size` px into `folder`.

    A folder that already holds exactly these files is left as it is.
    """
    command = [sys.executable, "-m", "data_prep.synthetic", f"--output={folder}"]
    options = [f"--num_train={count}", "--num_test=1", f"--source_size={size}"]
    timing.run_process([*command, *options], cwd=ROOT)


def sound(drawn: pathlib.Path, folder: pathlib.Path, *, count: int) -> Source:
    """Links `count` sound files of `drawn` into `folder`.

    Where there are fewer they come again under other names, so that thousands cost
    no drawing and no disk.
    """
    rows = _rows(drawn / "train-rle.csv")
    paths = sorted((drawn / "dicom-images-train").rglob("*.dcm"))
    paths = [p for p in paths if p.stem in rows and p.read_bytes()[-8:] == _END]
    links = {}
    for index, path in enumerate(itertools.islice(itertools.cycle(paths), count)):
        links[f"{path.stem}.c{index // len(paths)}"] = path
    return _link(links, rows, folder)


def read_all(source: Source) -> None:
    """Reads every file once, so that the disk is out of what follows."""
    for path in source.folder.iterdir():
        path.read_bytes()


def _rows(csv: pathlib.Path) -> dict[str, list[str]]:
    rows: dict[str, list[str]] = {}
    for line in csv.read_text().splitlines()[1:]:
        image_id, _, encoded = line.partition(",")
        rows.setdefault(image_id.strip(), []).append(encoded.strip())
    return rows


def _link(links: dict[str, pathlib.Path], rows, folder: pathlib.Path) -> Source:
    images = folder / "images"
    images.mkdir(parents=True)
    for name, path in links.items():
        _link_or_copy(path, images / f"{name}.dcm")
    csv = folder / "rle.csv"
    lines: Iterable[str] = (
        f"{name},{encoded}"
        for name, path in links.items()
        for encoded in rows[path.stem]
    )
    csv.write_text("\n".join([_HEADER, *lines]) + "\n")
    return Source(folder=images, csv=csv, count=len(links))


def _link_or_copy(path: pathlib.Path, to: pathlib.Path) -> None:
    try:
        os.link(path, to)
    except OSError:  # Another file system.
        shutil.copyfile(path, to)
