"""A published split as lists of file names: list k is fold k."""

import pathlib
from collections.abc import Callable
from collections.abc import Sequence

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.labels import label_table
from data_prep.labels import rle_csv
from data_prep.labels.image_labels import key_of


def read(
    paths: Sequence[pathlib.Path], resolve: Callable[[str], str] = key_of
) -> dict[str, int]:
    """Reads {image id: fold} from lists of one file name a line.

    Args:
      paths: text files, or csvs whose first column is the name.
      resolve: maps a name to an image id.

    Raises:
      CommandError: a list is missing or empty, or names an image of another one.
    """
    fold_of: dict[str, int] = {}
    for fold, path in enumerate(paths):
        count = len(fold_of)
        for number, (line, row) in enumerate(rle_csv.read_csv(path)):
            name = row[0].strip()
            if number == 0 and name in label_table.ID_COLUMNS:
                continue
            image_id = resolve(name)
            earlier = fold_of.setdefault(image_id, fold)
            if earlier != fold:
                raise CommandError(
                    ExitCode.FLAGS,
                    f"{path}, line {line}: {name[:64]!r} is in {paths[earlier]}, too",
                    fix="give lists without an image in common",
                )
        if len(fold_of) == count:
            raise CommandError(
                ExitCode.FLAGS, f"{path} has no name", fix="give another list"
            )
    return fold_of
