"""Walks a source folder and looks into every file, so that each is accounted for."""

import concurrent.futures
import dataclasses
import functools
import itertools
import logging
import pathlib

from data_prep.core import remote
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.core.errors import InputError
from data_prep.source import folder_listing
from data_prep.source.content import contents
from data_prep.source.folder_listing import Listing
from data_prep.source.quarantine import Quarantine
from data_prep.source.quarantine import printable
from data_prep.source.source_file import SourceFile

# Looking into a file is waiting, on a network share above all.
_THREADS = 8
# A store answers many at once, and each after tens of milliseconds.
_THREADS_FOR_STORE = 32
_BATCH = 1024


def walk(
    folder: pathlib.Path, quarantine: Quarantine, *, quiet: bool = False
) -> list[SourceFile]:
    """Returns every image below `folder`, sorted by its path.

    What is an image its content tells. Links are followed, and gzipped files and zips
    are looked into. Each file is returned, or quarantined because it claims to be an
    image or cannot be read, or counted in one line of the log.

    Args:
      folder: the source.
      quarantine: takes what claims to be an image and cannot be used.
      quiet: whether the log is not told what was left out.

    Raises:
      CommandError: no such folder.
    """
    walked = survey(folder, quarantine)
    if not quiet:
        walked.log(folder)
    return walked.files


@dataclasses.dataclass(kw_only=True)
class Walked:
    """What is below a folder, apart from what is quarantined.

    Attributes:
      files: the images, sorted by their paths.
      listing: how the folder was listed.
      left_out: {kind: (how many files, the first of them)} of what is no image.
    """

    files: list[SourceFile]
    listing: Listing
    left_out: dict[str, tuple[int, pathlib.Path]]

    def leave_out(self, kind: str, path: pathlib.Path) -> None:
        """Counts a file that is left out."""
        count, first = self.left_out.get(kind, (0, path))
        self.left_out[kind] = (count + 1, first)

    def log(self, folder: pathlib.Path) -> None:
        """Tells what was left out, and which links were followed or not."""
        name = functools.partial(name_in, folder)
        if self.left_out:
            kinds = sorted(self.left_out.items())
            logging.info(
                "%s: left out %s",
                folder.name,
                ", ".join(f"{n} {kind} (first {name(p)})" for kind, (n, p) in kinds),
            )
        if self.listing.outside:
            logging.info(
                "%s: %d links lead out of the folder and are followed (first %s)",
                folder.name,
                len(self.listing.outside),
                name(self.listing.outside[0]),
            )
        if self.listing.repeated:
            logging.info(
                "%s: %d links lead to folders that were reached before or that hold "
                "the link; those count once (first %s)",
                folder.name,
                len(self.listing.repeated),
                name(self.listing.repeated[0]),
            )


def survey(folder: pathlib.Path, quarantine: Quarantine) -> Walked:
    """Lists the images below `folder`, as `walk` does, and what was left out."""
    if not folder.is_dir():
        raise CommandError(
            ExitCode.FLAGS, f"no folder at {folder}", fix="check the path in the flag"
        )
    listing = folder_listing.list_files(folder)
    for path, error in listing.refused:
        quarantine.add(path, error)
    walked = Walked(files=[], listing=listing, left_out={})
    num_threads = _THREADS_FOR_STORE if remote.is_remote(folder) else _THREADS
    with concurrent.futures.ThreadPoolExecutor(num_threads) as threads:
        for start in range(0, len(listing.files), _BATCH):
            batch = listing.files[start : start + _BATCH]
            for found in itertools.chain.from_iterable(threads.map(contents, batch)):
                if isinstance(found.found, SourceFile):
                    walked.files.append(found.found)
                elif isinstance(found.found, InputError):
                    quarantine.add(found.shown, found.found)
                else:
                    walked.leave_out(found.found, found.shown)
    walked.files.sort(key=lambda file: file.shown)
    return walked


def name_in(folder: pathlib.Path, path: pathlib.Path) -> str:
    """Returns a path below `folder` as the log shows it."""
    return printable(str(path.relative_to(folder)))
