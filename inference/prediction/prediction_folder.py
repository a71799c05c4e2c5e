"""The folder of a prediction: finished parts, then what is made of them.

request.json                what decides the prediction; another one is refused
parts/part-00000.json       rows of one part; gone when the prediction is finished
probabilities/part-...      its maps, if they are kept (probability_maps.py)
submission.csv              masks of all images, if there are segmenters
classification.csv          probabilities of all images, if there are classifiers
prediction.json             written last: request, images, sha256 of every file
"""

import dataclasses
import pathlib
import shutil
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

from data_prep.core import durable
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
_PARTS = "parts"
_FIX = "choose another --output, or delete this one"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """What is written of one image.

    Attributes:
      image_id: its id.
      rle: its mask, see data_prep/dataset/rle.py; None where nothing is outlined.
      classified: probability of a finding, in 0..1; None without classifiers.
    """

    image_id: str
    rle: str | None
    classified: float | None


class PredictionFolder:
    """Keeps finished parts, and joins them in the end.

    Args:
      path: of the folder.
      request: what decides the prediction, free of paths, as JSON takes it.
    """

    def __init__(self, path: pathlib.Path, request: dict[str, Any]):
        self.path, self._request = path, request

    def complete(self) -> bool:
        """Tells whether this prediction is here, finished and unchanged.

        Raises:
          CommandError: another one is here, or a file was changed.
        """
        marker = self.path / MARKER
        if not marker.exists():
            return False
        stored = durable.read_json(marker, fix=_FIX)
        durable.refuse_other_config(
            self.path, stored.get("config", {}), self._request, fix=_FIX
        )
        for name, digest in stored["files"].items():
            durable.check_file(self.path / name, expected_sha256=digest, fix=_FIX)
        return True

    def claim(self) -> None:
        """Records the request, or refuses if another one was begun here."""
        path = self.path / REQUEST
        if path.exists():
            stored = durable.read_json(path, fix=_FIX)
            durable.refuse_other_config(self.path, stored, self._request, fix=_FIX)
        durable.write_json(path, self._request)

    def has(self, index: int) -> bool:
        """Tells whether a part is finished."""
        return self._part(index).exists()

    def write(
        self, index: int, rows: Sequence[Row], maps: list[ProbabilityMap] | None
    ) -> None:
        """Keeps a part; `maps` are those to be kept of it."""
        if maps is not None:
            name = probability_maps.part_name(index)
            probability_maps.write(self.path / probability_maps.FOLDER / name, maps)
        # Last: it is what `has` looks for.
        found = [list(dataclasses.astuple(row)) for row in rows]
        durable.write_json(self._part(index), {"rows": found})

    def join(self, sizes: Sequence[int]) -> None:
        """Writes the csvs and the marker.

        Args:
          sizes: images of each part.

        Raises:
          CommandError: a part is damaged, or an image is there twice.
        """
        masks, classified = self._has("rle"), self._has("classified")
        files = []
        if masks:
            rows = ((row.image_id, row.rle) for row in self._rows(sizes))
            submission.write(self.path / SUBMISSION, rows)
            files.append(SUBMISSION)
        if classified:
            rows = ((row.image_id, row.classified) for row in self._rows(sizes))
            probability_csv.write(self.path / CLASSIFICATION, rows)
            files.append(CLASSIFICATION)
        images = sum(1 for _ in self._rows(sizes)) if not files else sum(sizes)
        probability_maps.seal(
            self.path,
            self._request,
            files={name: durable.sha256(self.path / name) for name in files},
            images=images,
        )

    def drop_parts(self) -> None:
        """Deletes the rows of parts, which the csvs have; again, if it was killed."""
        shutil.rmtree(self.path / _PARTS, ignore_errors=True)

    def _has(self, attribute: str) -> bool:
        """Tells whether rows have an attribute: all have, or none."""
        rows = self._part_rows(0)
        return getattr(rows[0], attribute) is not None

    def _rows(self, sizes: Sequence[int]) -> Iterator[Row]:
        """Yields all rows; each image once, as many as there are."""
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
            Row(image_id=image_id, rle=rle, classified=classified)
            for image_id, rle, classified in stored["rows"]
        ]

    def _part(self, index: int) -> pathlib.Path:
        return self.path / _PARTS / f"part-{index:05d}.json"
