"""The folder of a prediction: finished parts, then the csvs made from them.

request.json                provenance of the prediction; another one is refused
parts/part-00000.json       rows of one chunk; deleted when the prediction is finished
parts/precision.json        what its precision changes, if that is measured; likewise
parts/array/, parts/notes/  see array_parts.py and process_notes.py; likewise
probabilities/part-...      its maps, if they are kept (probability_maps.py)
submission.csv              masks of all images, if there are segmenters
classification.csv          probabilities of all images, if there are classifiers
prediction.json             written last: provenance, images, sha256 of every file, and
                            "against_float32", what parts/precision.json had
"""

import contextlib
import dataclasses
import pathlib
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

from data_prep.core import durable
from data_prep.core import remote
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from inference.prediction import probability_csv
from inference.prediction import probability_maps
from inference.prediction import submission
from inference.prediction.probability_maps import ProbabilityMap

REQUEST = "request.json"
SUBMISSION = "submission.csv"
CLASSIFICATION = "classification.csv"
MARKER = probability_maps.MARKER
PARTS = "parts"
_PRECISION = "precision.json"
# Keys that the provenance of older predictions lacks, with what those did.
_ADDED = {"predict_precision": "trained"}
_FIX = "choose another --output, or delete this one"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """The row of one image.

    Attributes:
      image_id: its id.
      rle: its mask, see data_prep/dataset/rle.py; None if no masks are made.
      probability: of a pneumothorax, in 0..1; None without classifiers.
    """

    image_id: str
    rle: str | None
    probability: float | None


class PredictionFolder:
    """Keeps finished parts, and joins them at the end.

    Args:
      path: path of the folder.
      provenance: of the prediction, see inference/prediction/provenance.py.
    """

    def __init__(self, path: pathlib.Path, provenance: dict[str, Any]):
        self.path, self._provenance = path, provenance

    def complete(self) -> bool:
        """Returns whether the folder has this prediction, finished and unchanged.

        Raises:
          CommandError: it has another prediction, or a file was changed.
        """
        marker = self.path / MARKER
        if not marker.exists():
            return False
        stored = durable.read_json(marker, fix=_FIX)
        durable.refuse_other_config(
            self.path,
            _ADDED | stored.get("config", {}),
            self._provenance,
            fix=_FIX,
        )
        for name, digest in stored["files"].items():
            durable.check_file(self.path / name, expected_sha256=digest, fix=_FIX)
        return True

    def is_sealed(self) -> bool:
        """Returns whether the folder has a finished prediction, without a check."""
        return (self.path / MARKER).exists()

    def claim(self) -> None:
        """Records the provenance.

        Raises:
          CommandError: another prediction was started in the folder.
        """
        self.refuse_other()
        durable.write_json(self.path / REQUEST, self._provenance)

    @contextlib.contextmanager
    def claimed(self) -> Iterator[None]:
        """Claims the folder, and gives it back after an error if nothing is done.

        Otherwise a member that turns out to be bad would leave a request that refuses
        the corrected command.

        Raises:
          CommandError: as `claim`.
        """
        is_first = not (self.path / REQUEST).exists()
        self.claim()
        try:
            yield
        except Exception:
            if is_first and not any((self.path / PARTS).glob("part-*")):
                (self.path / REQUEST).unlink(missing_ok=True)
            raise

    def refuse_other(self) -> None:
        """Raises a CommandError if another prediction was started in the folder."""
        if (self.path / REQUEST).exists():
            self.check_request()

    def check_request(self) -> None:
        """Raises a CommandError unless this prediction was started in the folder."""
        stored = durable.read_json(
            self.path / REQUEST, fix="give the same command with --plan_only first"
        )
        durable.refuse_other_config(
            self.path, _ADDED | stored, self._provenance, fix=_FIX
        )

    def has(self, index: int) -> bool:
        """Returns whether a part is finished."""
        return self._part(index).exists()

    def list_parts(self) -> list[str]:
        """Returns the names of the files of finished parts, in no order."""
        parts = self.path / PARTS
        return [path.name for path in parts.iterdir()] if parts.is_dir() else []

    def write_change(self, change: dict[str, Any]) -> None:
        """Writes what the precision changes; call it before the first part."""
        durable.write_json(self.path / PARTS / _PRECISION, change)

    def change(self) -> dict[str, Any] | None:
        """Returns what `write_change` wrote, or None."""
        path = self.path / PARTS / _PRECISION
        return durable.read_json(path, fix=_FIX) if path.exists() else None

    def write(
        self, index: int, rows: Sequence[Row], maps: list[ProbabilityMap] | None
    ) -> None:
        """Writes a part.

        Args:
          index: the index of its chunk.
          rows: the rows of its images.
          maps: the maps to keep, or None if the prediction keeps no maps.
        """
        if maps is not None:
            name = probability_maps.part_name(index)
            probability_maps.write(self.path / probability_maps.FOLDER / name, maps)
        # Written last, since `has` looks for it.
        stored = [list(dataclasses.astuple(row)) for row in rows]
        durable.write_json(self._part(index), {"rows": stored})

    def join(self, sizes: Sequence[int]) -> None:
        """Writes the csvs and the marker.

        Args:
          sizes: number of images of each part.

        Raises:
          CommandError: a part is damaged, or an image appears twice.
        """
        # An attempt that was given up can replace no part any more.
        for folder in (self.path / PARTS, self.path / probability_maps.FOLDER):
            durable.drop_incomplete(folder)
        first = self._part_rows(0)[0]  # All rows have the same fields.
        files = []
        if first.rle is not None:
            rows = ((row.image_id, row.rle) for row in self._rows(sizes))
            submission.write(self.path / SUBMISSION, rows)
            files.append(SUBMISSION)
        if first.probability is not None:
            rows = ((row.image_id, row.probability) for row in self._rows(sizes))
            probability_csv.write(self.path / CLASSIFICATION, rows)
            files.append(CLASSIFICATION)
        images = sum(1 for _ in self._rows(sizes)) if not files else sum(sizes)
        change = self.change()
        facts = {} if change is None else {"against_float32": change}
        probability_maps.seal(
            self.path,
            self._provenance,
            files={name: durable.sha256(self.path / name) for name in files},
            images=images,
            **facts,
        )

    def drop_parts(self) -> None:
        """Deletes the rows of the parts; repeated if an earlier call was killed."""
        remote.remove_tree(self.path / PARTS)

    def _rows(self, sizes: Sequence[int]) -> Iterator[Row]:
        """Yields all rows, and checks that no image is missing or appears twice."""
        seen: set[str] = set()
        for index, size in enumerate(sizes):
            rows = self._part_rows(index)
            for row in rows:
                if row.image_id in seen:
                    raise CommandError(
                        ExitCode.CORRUPT,
                        f"image {row.image_id} is in the dataset twice",
                        fix="convert the dataset again",
                    )
                seen.add(row.image_id)
                yield row
            if len(rows) != size:
                raise CommandError(
                    ExitCode.CORRUPT,
                    f"{len(rows)} images were predicted instead of {size}",
                    fix="convert the dataset again",
                )

    def _part_rows(self, index: int) -> list[Row]:
        stored = durable.read_json(
            self._part(index), fix=f"delete {self.path} and predict again"
        )
        return [
            Row(image_id=image_id, rle=rle, probability=probability)
            for image_id, rle, probability in stored["rows"]
        ]

    def _part(self, index: int) -> pathlib.Path:
        return self.path / PARTS / f"part-{index:05d}.json"
