"""Tells what a file is by its first bytes, and what its name says that it is.

The signatures are those of the formats' own specifications; DICOM's is in PS3.10
section 7.1. Names alone would miss films without a suffix, which is how most archives
export them, and would take a web page named `.dcm` for a film.
"""

import re
import struct
from collections.abc import Callable

from data_prep.core.errors import InputError

# NIfTI's magic ends at byte 348, and tar's at 262.
HEAD_BYTES = 512
IMAGES = ("dicom", "png", "jpeg")
BARE_DICOM = "DICOM without preamble"
GZIP, ZIP, EMPTY, DICOMDIR = "gzip", "zip", "empty", "DICOMDIR"
OTHER, DAMAGED_DICOM = "other", "damaged DICOM"
_LFS, _TEXT = "Git LFS pointer", "text"

_GET_AGAIN = "get the file again from its source, or remove it"
_DICOM_NAMES = (".dcm", ".dicom", ".dic", ".ima")
_PICTURE_NAMES = (".png", ".jpg", ".jpeg", ".jpe", ".jfif")
# Suffixes that are no part of an image id.
IMAGE_SUFFIXES = _DICOM_NAMES + _PICTURE_NAMES
_OTHER_PICTURE_NAMES = (
    *(".tif", ".tiff", ".bmp", ".gif", ".webp", ".jp2", ".j2k", ".pgm", ".heic"),
    *(".nii", ".nrrd", ".mha", ".mhd"),
)
# Zips that are one document; what lies in them, such as a logo, is no film.
_ZIP_DOCUMENTS = (
    *(".docx", ".xlsx", ".pptx", ".odt", ".ods", ".odp", ".epub", ".npz"),
    *(".keras", ".pt", ".pth", ".whl", ".jar"),
)
_KNOWN_NAMES = {
    ".ds_store": ".DS_Store",
    "thumbs.db": "Thumbs.db",
    "desktop.ini": "desktop.ini",
    "dicomdir": DICOMDIR,
}
_VRS = frozenset(
    b"AE AS AT CS DA DS DT FL FD IS LO LT OB OD OF OL OW PN SH SL SQ SS ST TM UC UI UL "
    b"UN UR US UT".split()
)
# MediaStorageSOPClassUID of a media directory: tag, VR, length, value.
_DICOMDIR_CLASS = b"\x02\0\x02\0UI\x14\x001.2.840.10008.1.3.10"


def _at(place: int, *magics: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(magics, place)


def _is_bmp(head: bytes) -> bool:
    # Two letters alone would take many texts for a picture.
    return head[:2] == b"BM" and head[14:18] in {
        struct.pack("<I", size) for size in (12, 40, 52, 56, 64, 108, 124)
    }


def _is_dicomdir(head: bytes) -> bool:
    return head[128:132] == b"DICM" and _DICOMDIR_CLASS in head


# Pictures and volumes that are read only after an export.
_FOREIGN: dict[str, Callable[[bytes], bool]] = {
    "GIF": _at(0, b"GIF87a", b"GIF89a"),
    "TIFF": _at(0, b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    "BMP": _is_bmp,
    "WebP": lambda head: head[:4] == b"RIFF" and head[8:12] == b"WEBP",
    "NIfTI": lambda head: (
        head[344:348] in (b"n+1\0", b"ni1\0") or head[4:7] in (b"n+2", b"ni2")
    ),
    "NRRD": _at(0, b"NRRD000"),
    "MetaImage": _at(0, b"ObjectType = Image"),
    "JPEG 2000": _at(0, b"\0\0\0\x0cjP  \r\n", b"\xff\x4f\xff\x51"),
    "JPEG XL": _at(0, b"\0\0\0\x0cJXL \r\n", b"\xff\x0a"),
    "HEIF": lambda head: (
        head[4:8] == b"ftyp" and head[8:12] in (b"heic", b"heix", b"mif1", b"avif")
    ),
    "PNM": lambda head: bool(re.match(rb"P[56]\s+\d+\s+\d+\s+\d+\s", head)),
}
_ARCHIVES: dict[str, Callable[[bytes], bool]] = {
    "tar": _at(257, b"ustar"),
    "7z": _at(0, b"7z\xbc\xaf\x27\x1c"),
    "rar": _at(0, b"Rar!\x1a\x07"),
    "xz": _at(0, b"\xfd7zXZ\0"),
    "bzip2": lambda head: bool(re.match(rb"BZh[1-9]1AY&SY", head)),
    "Zstandard": _at(0, b"\x28\xb5\x2f\xfd"),
}
_KINDS: dict[str, Callable[[bytes], bool]] = {
    EMPTY: lambda head: not head,
    DICOMDIR: _is_dicomdir,
    "dicom": _at(128, b"DICM"),
    "png": _at(0, b"\x89PNG\r\n\x1a\n"),
    "jpeg": _at(0, b"\xff\xd8\xff"),
    GZIP: _at(0, b"\x1f\x8b\x08"),
    ZIP: _at(0, b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08"),
    **_FOREIGN,
    **_ARCHIVES,
    "AppleDouble": _at(0, b"\0\x05\x16\x07", b"\0\x05\x16\0"),
    "PDF": _at(0, b"%PDF"),
    "HDF5": _at(0, b"\x89HDF\r\n\x1a\n"),
    "NumPy": _at(0, b"\x93NUMPY"),
    _LFS: _at(0, b"version https://git-lfs.github.com/spec/"),
    _TEXT: lambda head: (
        head[:2] in (b"\xff\xfe", b"\xfe\xff")
        or not re.search(rb"[\0-\x08\x0e-\x1a\x1c-\x1f]", head)
    ),
    BARE_DICOM: lambda head: is_bare_dicom(head),
}


def kind_of(head: bytes) -> str:
    """Returns the kind of a file by its first HEAD_BYTES (fewer if it is shorter).

    It is one of IMAGES, BARE_DICOM (which only reading the header can confirm), GZIP,
    ZIP, EMPTY, or a name to show to a user.
    """
    return next((kind for kind, fits in _KINDS.items() if fits(head)), OTHER)


def is_bare_dicom(head: bytes) -> bool:
    """Returns whether a file may begin with its first element, without a preamble.

    That is one of group 0002 or 0008, in explicit or implicit VR (PS3.5 section 7.1).
    """
    if len(head) < 8 or head[128:132] == b"DICM":
        return False
    for order in "<>":
        group, element = struct.unpack_from(order + "HH", head)
        (length,) = struct.unpack_from(order + "I", head, 4)
        if group not in (2, 8) or element > 0xFF:
            continue
        # In implicit VR a length follows; the first elements are short and even.
        implicit = order == "<" and length < 1024 and length % 2 == 0
        return head[4:6] in _VRS or implicit
    return False


def surely_bare_dicom(head: bytes) -> bool:
    """Returns whether the first element of a file without preamble names its VR.

    Other files hardly ever do, whereas any few zeros look like implicit VR.
    """
    return is_bare_dicom(head) and head[4:6] in _VRS


def without_gz(name: str) -> str:
    """Returns a file name without its `.gz`."""
    return name[:-3] if name.lower().endswith(".gz") else name


def refusal(kind: str, name: str) -> InputError | None:
    """Returns why a file that is none of IMAGES is refused, or None to leave it out.

    Pictures and archives that are not read are refused, and so is what its name calls
    an image. The rest has nothing to do with images.
    """
    if kind in _FOREIGN:
        return InputError(
            "IMG_OTHER_FORMAT", f"a {kind} file", fix="export it as PNG or DICOM"
        )
    if kind == DAMAGED_DICOM:
        return InputError(
            "DCM_DAMAGED",
            "begins like DICOM without a preamble, and has no rows and columns",
            fix=_GET_AGAIN,
        )
    if kind in _ARCHIVES:
        return InputError(
            "ARCHIVE_OTHER_FORMAT",
            f"a {kind} archive",
            fix="unpack it, and export what is in it as PNG or DICOM",
        )
    name = without_gz(name.lower())
    if kind == "AppleDouble" or not name.endswith(
        (*IMAGE_SUFFIXES, *_OTHER_PICTURE_NAMES, ".zip")
    ):
        return None
    return _misnamed(kind, name)


def _misnamed(kind: str, name: str) -> InputError:
    dicom = name.endswith(_DICOM_NAMES)
    if kind == EMPTY:
        code = "DCM_EMPTY" if dicom else "IMG_EMPTY"
        return InputError(code, "the file has no byte", fix=_GET_AGAIN)
    if name.endswith(".zip"):
        return InputError("ZIP_DAMAGED", "not a zip", fix=_GET_AGAIN)
    code = "DCM_NOT_DICOM" if dicom else "IMG_NOT_IMAGE"
    reason = "not a DICOM file" if dicom else "not a PNG or JPEG file"
    if kind == _LFS:
        return InputError(code, f"{reason} but a {kind}", fix="run `git lfs pull`")
    if kind != OTHER:
        reason = f"{reason}; the content is: {kind}"
    return InputError(code, reason, fix=_GET_AGAIN)


def is_zip_document(name: str) -> bool:
    """Returns whether a zip of this name is one document, such as `.xlsx`."""
    return name.lower().endswith(_ZIP_DOCUMENTS)


def shown_kind(kind: str, name: str) -> str:
    """Returns what to call a file that is left out: csv for a text `a.csv`."""
    known = _KNOWN_NAMES.get(name.lower())
    if known and kind not in (DICOMDIR, "AppleDouble"):
        return known
    if kind == _TEXT and name.lower().endswith((".csv", ".tsv")):
        return "csv"
    if kind == ZIP:
        return name.lower().rpartition(".")[2]
    return kind
