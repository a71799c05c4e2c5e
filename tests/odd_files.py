"""Files that lie in real source folders, as bytes, with what has to become of them."""

import gzip
import io
import os
import pathlib
import zipfile

import numpy as np

from tests import dicom_files

pydicom = dicom_files.pydicom


def film(seed: int, side: int = 32) -> np.ndarray:
    """Returns another film for each seed, [side, side] uint8."""
    noise = np.random.default_rng(seed).integers(0, 90, (side, side), np.uint8)
    return np.add.outer(np.arange(side), np.arange(side)).astype(np.uint8) + noise


def dicom(seed: int = 0, side: int = 32) -> bytes:
    """Returns a DICOM file."""
    return dicom_files.as_bytes(dicom_files.native(film(seed, side)))


def bare_dicom(seed: int = 0, *, with_meta: bool = False, implicit: bool = False):
    """Returns a DICOM file without preamble, and without group 0002 if asked."""
    data = dicom_files.native(film(seed))
    if implicit:
        data.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
    whole = dicom_files.as_bytes(data)
    if with_meta:
        return whole[132:]
    # The group length counts from the end of its own element.
    return whole[132 + 12 + int.from_bytes(whole[140:144], "little") :]


def png(seed: int = 0) -> bytes:
    """Returns a PNG film."""
    return dicom_files.compressed(film(seed), format="PNG")


def jpeg(seed: int = 0) -> bytes:
    """Returns a JPEG film."""
    return dicom_files.compressed(film(seed), format="JPEG", quality=95)


def zipped(members: dict[str, bytes]) -> bytes:
    """Returns a zip of {name: bytes}."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


def dicomdir() -> bytes:
    """Returns the head of a media directory."""
    return (
        bytes(128)
        + b"DICM\x02\0\0\0UL\x04\0\x4e\0\0\0\x02\0\x01\0OB\0\0\x02\0\0\0\0\x01"
        + b"\x02\0\x02\0UI\x14\x001.2.840.10008.1.3.10"
        + bytes(200)
    )


def tar() -> bytes:
    """Returns an empty member's header as tar writes it."""
    return b"film.dcm".ljust(257, b"\0") + b"ustar\x0000" + bytes(248)


# What is an image whatever its name says.
IMAGES = {
    "dicom": dicom(),
    "bare": bare_dicom(),
    "bare with meta": bare_dicom(with_meta=True),
    "bare implicit": bare_dicom(implicit=True),
    "png": png(),
    "jpeg": jpeg(),
    "gzipped dicom": gzip.compress(dicom(), mtime=0),
    "gzipped png": gzip.compress(png(), mtime=0),
}
# What is quarantined whatever its name says: {kind: (bytes, code)}.
REFUSED = {
    "gif": (b"GIF89a" + bytes(50), "IMG_OTHER_FORMAT"),
    "tiff": (b"II*\0" + bytes(50), "IMG_OTHER_FORMAT"),
    "bmp": (
        b"BM" + bytes(12) + b"\x28\0\0\0" + bytes(40),
        "IMG_OTHER_FORMAT",
    ),
    "webp": (b"RIFF\x10\0\0\0WEBPVP8 " + bytes(20), "IMG_OTHER_FORMAT"),
    "nifti": (b"\x5c\x01\0\0" + bytes(340) + b"n+1\0" + bytes(9), "IMG_OTHER_FORMAT"),
    "gzipped nifti": (
        gzip.compress(b"\x5c\x01\0\0" + bytes(340) + b"n+1\0"),
        "IMG_OTHER_FORMAT",
    ),
    "nrrd": (b"NRRD0004\ntype: short\n", "IMG_OTHER_FORMAT"),
    "jpeg 2000": (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(20), "IMG_OTHER_FORMAT"),
    "tar": (tar(), "ARCHIVE_OTHER_FORMAT"),
    "gzipped tar": (gzip.compress(tar()), "ARCHIVE_OTHER_FORMAT"),
    "7z": (b"7z\xbc\xaf\x27\x1c" + bytes(20), "ARCHIVE_OTHER_FORMAT"),
    "damaged gzip": (gzip.compress(dicom())[:40], "GZIP_DAMAGED"),
    "damaged zip": (zipped({"a.dcm": dicom()})[:-40], "ZIP_DAMAGED"),
    "gzip in gzip": (gzip.compress(gzip.compress(dicom())), "ARCHIVE_NESTED"),
    "cut bare dicom": (bare_dicom()[:100], "DCM_DAMAGED"),
}
# What has nothing to do with images: {kind: (bytes, its name in the log)}.
OTHERS = {
    "csv": (b"ImageId,EncodedPixels\n1.2.3,-1\n", "text"),
    "umlauts": ("Größe;Übersicht\n".encode("latin-1"), "text"),
    "pdf": (b"%PDF-1.7\n" + bytes(range(40)), "PDF"),
    "dicomdir": (dicomdir(), "DICOMDIR"),
    "apple": (b"\0\x05\x16\x07\0\x02\0\0Mac OS X        ", "AppleDouble"),
    "numpy": (b"\x93NUMPY\x01\0v\0" + bytes(60), "NumPy"),
    "lfs": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n",
        "Git LFS pointer",
    ),
    "noise": (bytes(range(256)) * 3, "other"),
    "gzipped csv": (gzip.compress(b"a,b\n1,2\n", mtime=0), "text"),
    "empty": (b"", "empty"),
}
NUM_FILMS = 8


def every_kind(folder: pathlib.Path) -> int:
    """Lays every kind of file into one folder; returns how many files there are."""
    films = [dicom(k) for k in range(NUM_FILMS)]
    files: dict[str, bytes] = {}
    wrapped = {k: d for k, d in IMAGES.items() if k != "dicom"}
    for k, data in enumerate([*films, *wrapped.values()]):
        files[f"in/image{k}"] = data
    for kind, (data, _) in (REFUSED | OTHERS).items():
        files[f"{kind.replace(' ', '_')}"] = data
        files[f"claims/{kind.replace(' ', '_')}.dcm"] = data
    files["twins/image0.dcm"] = films[0]
    files["others/image1.dcm"] = films[2]
    files["bad id.dcm"] = films[1]
    files["umlaut/Müller.dcm"] = films[1]
    files[f"long/{'x' * 70}.dcm"] = films[1]
    files["cut.dcm"] = films[1][:-20]
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    members = {
        "in/zipped.dcm": dicom(20),
        "__MACOSX/in/._zipped.dcm": OTHERS["apple"][0],
        "readme.txt": b"a text",
        "nested.zip": zipped({"a.dcm": films[0]}),
    }
    (folder / "films.zip").write_bytes(zipped(members))
    store = folder.parent / "store"
    store.mkdir()
    (store / "far.png").write_bytes(png(30))
    (folder / "store").symlink_to(store)
    (folder / "again").symlink_to(store)
    (folder / "loop").symlink_to(folder)
    (folder / "gone.dcm").symlink_to("nothing")
    os.mkfifo(folder / "pipe")
    # The film in the linked folder, the dangling link and the pipe.
    return len(files) + len(members) + 3
