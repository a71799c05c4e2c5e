"""Converts DICOM files and an RLE csv to sharded TFRecords, once.

    python -m data_prep.main --source=dicom-images-train --rle_csv=train-rle.csv \\
        --test_source=dicom-images-test --output=data/siim --sizes=256,512
"""

from data_prep.build import convert
from data_prep.core.errors import ExitCode
from flags import command
from flags import data_prep as data_prep_flags


def main() -> ExitCode:
    config = data_prep_flags.convert_config()
    if data_prep_flags.dry_run():
        return convert.dry_run(config)
    return convert.convert(config)


if __name__ == "__main__":
    command.run(main, data_prep_flags.GROUPS)
