"""Films of a prediction as files beside its page, in OUTPUT/films.

made_from.json         written first: of which prediction the rest is
pictures/<name>.png    the film with the grey values that the network gets
masks/<name>.png       its mask, if it has one
heat/<name>.png        its map of probability, if the prediction keeps maps
thumbs/<name>.jpg      a small picture for the list
films.js               written last: the list, see inference/report/film_index.py

A picture that is there is not made again, so a stopped call goes on where it was.
"""

import concurrent.futures
import contextlib
import hashlib
import json
import logging
import pathlib
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterator

import numpy as np

from data_prep.core import durable
from data_prep.core import remote
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.dataset import aspect as aspects
from data_prep.dataset.schema import Record
from inference.masks import image_probability
from inference.prediction import joining
from inference.prediction import probability_maps
from inference.prediction.probability_maps import ProbabilityMap
from inference.report import film_index
from inference.report import film_pictures
from inference.report.film_index import Film

FOLDER = "films"
_STAMP = "made_from.json"
_KINDS = ("pictures", "masks", "heat", "thumbs")
# Changes with the pictures' bytes, so that a folder never has pictures of two kinds.
_VERSION = 1
_THREADS = 4


class FilmFiles:
    """Writes the files of one film after the other.

    Args:
      output: the folder of the finished prediction.
      aspect: aspect policy of the dataset, see data_prep/dataset/aspect.py.
      keeps_maps: whether the prediction keeps maps.
      facts: {image id: fields of a film_index.Film that a table of images has}.
      left_out: ids of films that may have a map and are not added.

    Raises:
      CommandError: the folder is somebody else's, or the prediction is damaged.
    """

    def __init__(
        self,
        output: pathlib.Path,
        *,
        aspect: str,
        keeps_maps: bool,
        facts: dict,
        left_out: Collection[str] = (),
    ):
        self._folder, self._aspect, self._facts = output / FOLDER, aspect, facts
        self._maps = _Maps(output, left_out) if keeps_maps else None
        refuse_foreign(output)
        _take_over(self._folder, _digest(output))

    @contextlib.contextmanager
    def listed(self) -> Iterator[None]:
        """Writes the list of the films that are added meanwhile.

        Raises:
          CommandError: there are maps of films that were not added.
        """
        path = self._folder / film_index.INDEX
        with (
            concurrent.futures.ThreadPoolExecutor(_THREADS) as self._threads,
            film_index.writing(path, keeps_maps=self._maps is not None) as self._list,
        ):
            yield
            if self._maps:
                self._maps.check_all_taken()

    def add(
        self,
        record: Record,
        image: np.ndarray,
        mask: np.ndarray,
        probability: float | None,
    ) -> None:
        """Writes a film's pictures that are missing, and lists it.

        Args:
          record: its record.
          image: [S, S] uint8.
          mask: [H, W] uint8 of 0 and 1, at the size of the source.
          probability: by the classifiers, or None.
        """
        found = self._maps and self._maps.take(record.image_id)
        if found and probability is None:
            probability = image_probability.of_map(found.values)
        height, width = mask.shape
        ratio = round(width / height, 6) if self._aspect == "stretch" else 1
        area = int(mask.sum())
        square = aspects.to_square(mask, self._aspect)
        pictures = {
            "pictures/{}.png": lambda: film_pictures.film(image),
            "thumbs/{}.jpg": lambda: film_pictures.thumb(image, square, ratio),
        }
        if area:
            pictures["masks/{}.png"] = lambda: film_pictures.mask(square, len(image))
        if found:
            pictures["heat/{}.png"] = lambda: film_pictures.heat(found.values)
        stem = film_index.file_stem(record.image_id)
        # What takes long is that a disk, or a store, has each file for certain.
        for done in [
            self._threads.submit(_write, self._folder / name.format(stem), encoded)
            for name, encoded in pictures.items()
        ]:
            done.result()
        known = {
            "id": record.image_id,
            "width": width,
            "height": height,
            "ratio": ratio,
            "area": area,
            "heat": bool(found),
            "probability": probability,
        }
        self._list(Film(**(known | self._facts.get(record.image_id, {}))))


def refuse_foreign(output: pathlib.Path) -> None:
    """Raises a CommandError if OUTPUT/films is a folder that no prediction has made."""
    folder = output / FOLDER
    if (folder / _STAMP).exists() or not folder.is_dir():
        return
    durable.drop_incomplete(folder)
    if next(iter(folder.iterdir()), None):
        raise CommandError(
            ExitCode.CONFLICT,
            f"{folder} has files that are not of a prediction, and the report needs a "
            "folder of this name",
            fix="choose another --output",
        )


def _write(path: pathlib.Path, encoded: Callable[[], bytes]) -> None:
    if not path.exists():
        durable.write_bytes(path, encoded())


class _Maps:
    """The maps of a finished prediction, whose order is that of the films."""

    def __init__(self, output: pathlib.Path, left_out: Collection[str]):
        self._folder = output / probability_maps.FOLDER
        _, maps = probability_maps.read_folder(output)
        self._left = (m for m in maps if m.image_id not in left_out)
        self._next: ProbabilityMap | None = next(self._left, None)

    def take(self, image_id: str) -> ProbabilityMap | None:
        """Returns the map of the next film; None if the gate let it have none."""
        if self._next is None or self._next.image_id != image_id:
            return None
        taken, self._next = self._next, next(self._left, None)
        return taken

    def check_all_taken(self) -> None:
        """Raises a CommandError if a map is of no film, or out of order."""
        if self._next is not None:
            raise CommandError(
                ExitCode.CORRUPT,
                f"{self._folder} has a map of {self._next.image_id} that is not at "
                "the place of this film",
                fix="delete the folder of the prediction and predict again",
            )


def _digest(output: pathlib.Path) -> str:
    """Returns what tells one prediction from another, however it was computed."""
    stored = durable.read_json(output / probability_maps.MARKER, fix="predict again")
    masks = stored.get("files", {}).get(joining.SUBMISSION)
    decisive = [_VERSION, stored.get("config"), stored.get("parts"), masks]
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def _take_over(folder: pathlib.Path, digest: str) -> None:
    """Deletes what an earlier prediction has left in the folder."""
    stamp = folder / _STAMP
    if stamp.exists():
        try:
            found = durable.read_json(stamp, fix="").get("prediction")
        except CommandError:
            found = None
        if found != digest:
            logging.warning("%s is of another prediction, and is made again", folder)
            (folder / film_index.INDEX).unlink(missing_ok=True)
            for kind in _KINDS:
                remote.remove_tree(folder / kind)
    for kind in ("", *_KINDS):
        if (folder / kind).is_dir():
            durable.drop_incomplete(folder / kind)
    durable.write_json(stamp, {"prediction": digest})
