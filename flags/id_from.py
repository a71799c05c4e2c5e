"""The flag --id_from, of the commands that read a folder of images.

Unlike the flags of common.py it takes its default from a field.
"""

from data_prep.config import ConvertConfig
from flags import fields

ID_FROM = fields.define(
    ConvertConfig,
    "id_from",
    "What an image's id is made of: the stem of its file, its path in --source, for "
    "folders with files of one name, or its DICOM SOPInstanceUID.",
)
