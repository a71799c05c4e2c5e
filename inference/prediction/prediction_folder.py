"""The folder of a prediction: finished parts, then the csvs made from them.

request.json                provenance of the prediction; another one is refused
parts/<request>/            rows of each chunk and more, see part_files.py; deleted when
                            the prediction is finished
parts/notes/                see process_notes.py; likewise
probabilities/part-...      its maps, if they are kept (probability_maps.py)
submission.csv              masks of all images, if there are segmenters
unlike.csv                  films unlike those of the training, if films are compared
classification.csv          probabilities of all images, if there are classifiers
images.csv                  what is known of each image, with one of both
prediction.json             written last: provenance, images, sha256 of every file (of
                            images.csv that of what a second run repeats), and
                            "against_float32", what the parts' precision.json had
"""

import contextlib
import dataclasses
import logging
import pathlib
from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

from data_prep.core import durable
from data_prep.core import remote
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from inference.prediction import images_csv
from inference.prediction import joining
from inference.prediction import probability_maps
from inference.prediction.film_facts import FilmFacts
from inference.prediction.joining import Joined
from inference.prediction.part_files import PartFiles
from inference.prediction.probability_maps import ProbabilityMap
from inference.prediction.row import Row

REQUEST = "request.json"
MARKER = probability_maps.MARKER
# Keys that the provenance of older predictions lacks, with what those did.
_ADDED = {"predict_precision": "trained"}
_FIX = "choose another --output, or delete this one"


@dataclasses.dataclass
class Claim:
    """How far the work has come for which a folder was claimed.

    Attributes:
      is_sent: whether other machines may have begun to load the members.
      is_answered: whether one has predicted.
    """

    is_sent: bool = False
    is_answered: bool = False


class PredictionFolder:
    """Keeps finished parts, and joins them at the end.

    Args:
      path: path of the folder.
      provenance: of the prediction, see inference/prediction/provenance.py.
      leaves_out: whether films unlike those of the training get no row.

    Attributes:
      path: see above.
      parts: the finished parts of this prediction.
    """

    def __init__(
        self,
        path: pathlib.Path,
        provenance: dict[str, Any],
        *,
        leaves_out: bool = False,
    ):
        self.path, self._provenance = path, provenance
        self._leaves_out = leaves_out
        self.parts = PartFiles(path, provenance)

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
        # Predictions of earlier releases have no such table.
        if digest := stored.get("table"):
            images_csv.check(self.path / images_csv.FILE_NAME, digest)
        return True

    def check_temperature(self, temperature: float | None) -> None:
        """Raises a CommandError if the finished table has another calibration.

        Args:
          temperature: that of the thresholds that are given now, None for none.
        """
        stored = durable.read_json(self.path / MARKER, fix=_FIX)
        if "table" in stored and stored.get("temperature") != temperature:
            raise CommandError(
                ExitCode.CONFLICT,
                f"{self.path / images_csv.FILE_NAME} has probabilities with the "
                f"temperature {stored.get('temperature')}, asked are those with "
                f"{temperature}",
                fix=_FIX,
            )

    def is_sealed(self) -> bool:
        """Returns whether the folder has a finished prediction, without a check."""
        return (self.path / MARKER).exists()

    def claim(self) -> None:
        """Records the provenance, and takes parts from now on.

        Raises:
          CommandError: another prediction was started in the folder.
        """
        self.resume()
        self.parts.open()
        durable.write_json(self.path / REQUEST, self._provenance)

    @contextlib.contextmanager
    def claimed(self) -> Iterator[Claim]:
        """Claims the folder, and gives it back after an error if nothing is done.

        Otherwise a member that turns out to be bad would leave a request that refuses
        the corrected command. What other machines have begun may not be seen here yet:
        once they may have predicted, the request stays.

        Yields:
          What the caller sets while its work proceeds.

        Raises:
          CommandError: as `claim`.
        """
        is_first = not (self.path / REQUEST).exists()
        self.claim()
        claim = Claim()
        try:
            yield claim
        except Exception as e:
            # While members are loaded, only bad ones are a fault of the command.
            is_bad = isinstance(e, CommandError) and e.exit_code == ExitCode.FLAGS
            is_begun = claim.is_answered or (claim.is_sent and not is_bad)
            if is_first and not is_begun and not any(self.parts.folder.glob("part-*")):
                self.parts.close()
                (self.path / REQUEST).unlink(missing_ok=True)
            raise

    def resume(self) -> None:
        """Takes over what this prediction has left of an interrupted call.

        Raises:
          CommandError: another prediction was started in the folder.
        """
        if (self.path / REQUEST).exists():
            self.check_request()
            self.parts.adopt_former()

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
        return self.parts.path(index).exists()

    def finished(self, indices: Collection[int]) -> set[int]:
        """Returns which of these parts are finished."""
        return self.parts.finished(indices)

    def write(
        self,
        index: int,
        rows: Sequence[Row],
        maps: list[ProbabilityMap] | None,
        seconds: float | None = None,
    ) -> None:
        """Writes a part.

        Args:
          index: the index of its chunk.
          rows: the rows of its images.
          maps: the maps to keep, or None if the prediction keeps no maps.
          seconds: that each image took, or None if nobody has looked.

        Raises:
          CommandError: the prediction was finished or given up meanwhile, and nothing
            is written.
        """
        self.parts.check_open()
        part = {"rows": [list(dataclasses.astuple(row)) for row in rows]}
        if seconds is not None:
            part["seconds"] = seconds
        if maps is not None:
            path = self._maps / probability_maps.part_name(index)
            part["map"] = probability_maps.write(path, self._while_open(maps))
        # Written last, since `has` looks for it.
        self.parts.write(index, part)

    def join(self, sizes: Sequence[int], films: FilmFacts | None = None) -> None:
        """Writes the csvs and the marker.

        Args:
          sizes: number of images of each part.
          films: what else is known of the images, None for nothing.

        Raises:
          CommandError: a part is damaged, an image appears twice, or maps are not those
            of their part.
        """
        # An attempt that was given up can replace nothing any more.
        self.parts.close()
        durable.drop_incomplete(self._maps)
        films = films or FilmFacts()
        joined = joining.join(
            self.path, self.parts, sizes, films, leaves_out=self._leaves_out
        )
        change = self.parts.change()
        facts = {} if change is None else {"against_float32": change}
        if joined.images:
            facts["table"] = joined.images
        if films.temperature is not None:
            facts["temperature"] = films.temperature
        probability_maps.seal(
            self.path,
            self._provenance,
            parts=self._checked_maps(joined),
            files={name: durable.sha256(self.path / name) for name in joined.csvs},
            images=sum(sizes),
            **facts,
        )

    def drop_parts(self) -> None:
        """Deletes the parts; repeated if an earlier call was killed."""
        self.parts.drop()

    @property
    def _maps(self) -> pathlib.Path:
        return self.path / probability_maps.FOLDER

    def _while_open(self, maps: Iterable[ProbabilityMap]) -> Iterator[ProbabilityMap]:
        yield from maps
        # The file is written and has not got its name.
        self.parts.check_open()

    def _checked_maps(self, joined: Joined) -> dict[str, str]:
        """Returns {name: sha256} of the maps; deletes those of other predictions.

        Raises:
          CommandError: maps are missing, or not those of their part. The part is
            deleted, so that the next call predicts it again.
        """
        found = {p.name: p for p in self._maps.glob("part-*.tfrecord")}
        checked = {}
        for index, recorded in joined.maps.items():
            name = probability_maps.part_name(index)
            if recorded is None and not self._provenance.get("keeps_maps"):
                continue
            path = found.pop(name, None)
            digest = path and self._digest(path, recorded)
            # Parts of an earlier release have recorded nothing.
            if digest is None or recorded not in (None, digest):
                self.parts.path(index).unlink()
                raise CommandError(
                    ExitCode.CORRUPT,
                    f"{self._maps / name} is missing, or is not what its part was "
                    "made with",
                    fix="run the command again, which predicts this part again",
                )
            checked[name] = digest
        for path in found.values():
            logging.warning("%s is of another prediction, and is deleted", path)
            path.unlink(missing_ok=True)
        return checked

    def _digest(self, path: pathlib.Path, recorded: str | None) -> str:
        if recorded and remote.is_remote(path):
            # The store has checked what it was sent; reading it all takes hours.
            return recorded
        return durable.sha256(path)
