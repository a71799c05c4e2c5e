"""Ids of images, made from the names of their files or from their headers."""

import hashlib
import pathlib
import re
import unicodedata
from typing import Literal

from data_prep.core.errors import InputError
from data_prep.labels.rle_csv import ID
from data_prep.pixels import dicom
from data_prep.source import image_files
from data_prep.source.source_file import SourceFile

IdFrom = Literal["stem", "path", "sop_instance_uid"]
_MAX_LENGTH = 64
_HASH_BYTES = 6


def id_of(id_from: IdFrom) -> image_files.IdOf:
    """Returns the function that gives each file of a source folder its id.

    Ids of headers are not known from names, so "sop_instance_uid" gives the ids of
    "path", which those of `read_sop_instance_uid` replace later.
    """

    def from_stem(file: SourceFile, folder: pathlib.Path) -> str:
        return fit(image_files.stem_of(file, folder))

    def from_path(file: SourceFile, folder: pathlib.Path) -> str:
        return fit(image_files.without_suffix(file.relative_to(folder)))

    return from_stem if id_from == "stem" else from_path


def fit(name: str) -> str:
    """Returns a name that is an id as it is, and a readable id for every other name.

    Such an id is what is left of the name in ASCII letters, digits, '.', '_' and '-',
    of a long name its end, then '-' and 48 bits of the BLAKE2b of the name in Unicode's
    normal form C. It depends on the name alone, and names that differ keep ids that
    differ, although "a/b-c" and "a-b/c" are spelled alike.
    """
    if ID.fullmatch(name):
        return name
    # One name is stored composed by most file systems, decomposed by those of macOS.
    composed = unicodedata.normalize("NFC", name)
    data = composed.encode(errors="surrogatepass")
    digest = hashlib.blake2b(data, digest_size=_HASH_BYTES).hexdigest()
    letters = unicodedata.normalize("NFKD", composed).encode("ascii", "ignore").decode()
    words = re.sub(r"[^A-Za-z0-9._]+", "-", letters)
    words = words[-(_MAX_LENGTH - 1 - len(digest)) :].strip("-._")
    return f"{words or 'image'}-{digest}"


def read_sop_instance_uid(file: SourceFile) -> str:
    """Returns the id that the header of a file gives it.

    Raises:
      InputError: the file is no DICOM file, is damaged, or has no SOPInstanceUID.
    """
    uid = ""
    if file.kind == "dicom":
        with file.open() as stream:
            uid = dicom.read_sop_instance_uid(stream)
    if not uid:
        raise InputError(
            "ID_MISSING",
            "the file has no SOPInstanceUID",
            fix="use --id_from=stem or --id_from=path",
        )
    return fit(uid)
