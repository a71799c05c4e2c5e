"""Reads the headers of a chunk of files: the unit of work of the header pass.

What is asked lies in a JSON file of the work folder, and so does what was read. The
names of both have a digest of what is asked, so that an attempt at another pass that
was given up, and ends late, writes no file of this one. A patient is hashed where its
header is read, so that no patient id is written or sent.
"""

import dataclasses
import functools
import hashlib
import json
import pathlib
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterator
from typing import Any
from typing import Protocol

from data_prep.build import folds
from data_prep.build import image_records
from data_prep.build import plan_json
from data_prep.build import source_sight
from data_prep.build import unit_pool
from data_prep.build.image_records import Pixels
from data_prep.core import durable
from data_prep.core import shared_files
from data_prep.core import workers
from data_prep.core.errors import OF_THE_MACHINE
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.executors import code_hash
from data_prep.source.image_ids import read_sop_instance_uid
from data_prep.source.probe import HeaderFacts
from data_prep.source.probe import Probe
from data_prep.source.probe import read_header_facts

FIX = "delete the folder .work in --output"
# What is asked, and what was read.
ASKED, READ = "asked", "read"


class HeaderReader(Protocol):
    """What reads headers: a WorkerPool, or `header_reader.ClusterHeaderReader`."""

    def imap_ordered(
        self, function: Callable[[Any], Any], items: Collection
    ) -> Iterator[tuple[Any, Any]]:
        """See `WorkerPool.imap_ordered`."""
        ...


@functools.cache
def facts_reader(group_salt: str) -> Callable[[Probe], HeaderFacts]:
    """Returns the function that reads a header; the same one for the same secret."""
    return functools.partial(read_facts, group_salt)


def read_facts(group_salt: str, probe: Probe) -> HeaderFacts:
    """Returns what a header says, with the salted hash of the patient, '' if unknown.

    Raises:
      InputError: as `read_header_facts` does.
    """
    facts = read_header_facts(probe)
    if not facts.patient_id:
        return facts
    hashed = folds.group_of(facts.patient_id, "", group_salt)
    return dataclasses.replace(facts, patient_id=hashed)


@dataclasses.dataclass(frozen=True, kw_only=True)
class HeaderWork:
    """What every chunk of one pass has in common.

    Attributes:
      folder: where the chunks are.
      kind: "facts" of images, or "ids" that their headers give them.
      group_salt: secret key of the patient hash. It goes to the machines with the
        unit: a file for it in the shared folder would outlive a killed command.
      salt_check: what shows that the secret is another one, without telling it.
      num_workers: number of reading processes.
      limits: of each of them.
      pixels: of the records that the same processes make afterwards.
      sources: where the files lie, see source_sight.py.
    """

    folder: pathlib.Path
    kind: str
    group_salt: str = dataclasses.field(repr=False)
    salt_check: str | None
    num_workers: int
    limits: workers.Limits
    pixels: Pixels
    sources: tuple[pathlib.Path, ...] = ()

    def function(self) -> Callable[[Any], Any]:
        """Returns what is applied to each item of a chunk."""
        if self.kind == "ids":
            return read_sop_instance_uid
        return facts_reader(self.group_salt)

    def of_item(self, item: Any) -> plan_json.Json:
        """Returns one item as JSON."""
        return _OF_ITEM[self.kind](item)

    def path(self, name: str, part: str) -> pathlib.Path:
        """Returns the file of a chunk that holds what is asked, or what was read."""
        return self.folder / f"{name}.{part}.json"

    def write_asked(self, index: int, items: list, stamps: list) -> str:
        """Writes down what a chunk asks for.

        Args:
          index: of the chunk.
          items: as JSON.
          stamps: of the files of each of them.

        Returns:
          The name of the chunk: its index, and a digest of all that decides what is
          read, which are the files, the options, the secret and the code.
        """
        asked = {
            "kind": self.kind,
            "salt_check": self.salt_check,
            "code": code_hash.of_this_machine(),
            "items": plan_json.packed(zip(items, stamps, strict=True)),
        }
        name = f"{index:06}-{_digest(asked)}"
        durable.write_json(self.path(name, ASKED), asked)
        return name

    def take_read(self, names: list[str]) -> set[str]:
        """Returns the chunks that were read before, of the same as is asked now.

        A chunk in which a file failed because of the machine counts as not read; what
        was read of it is deleted.
        """
        listed = {file.name for file in self.folder.glob(f"*.{READ}.json")}
        names = [name for name in names if self.path(name, READ).name in listed]
        failed = {name for name in names if self._has_failed(name)}
        for name in failed:
            self.path(name, READ).unlink()
        return set(names) - failed

    def _has_failed(self, name: str) -> bool:
        return any(r.get("code") in OF_THE_MACHINE for r in self._read(name))

    def results(self, name: str) -> list:
        """Returns what was read, in the order of the items; InputErrors among it.

        Raises:
          CommandError: this machine does not see it, or it is damaged.
        """
        file = self.path(name, READ)
        if not shared_files.wait(file.exists, self.folder, what=f"chunk {name}"):
            raise shared_files.not_seen(self.folder, "headers")
        to_value = _TO_VALUE[self.kind]
        return [plan_json.to_result(result, to_value) for result in self._read(name)]

    def _read(self, name: str) -> Iterator:
        stored = durable.read_json(self.path(name, READ), fix=FIX)
        if stored["asked"] != _asked(name):
            raise CommandError(
                ExitCode.CORRUPT,
                f"{self.path(name, READ)} is of other files than its name says",
                fix=FIX,
            )
        return plan_json.unpacked(stored["results"])


def read_chunk(work: HeaderWork, name: str) -> str:
    """Reads the headers that a chunk asks for, and writes down what they say.

    Raises:
      CommandError: the chunk is missing or damaged.
      MachineError: this machine does not see a source.
    """
    file = work.path(name, ASKED)
    # This machine may see it later than the one that has written it.
    shared_files.wait(file.exists, work.folder, what=f"chunk {name}")
    asked = durable.read_json(file, fix=FIX)
    if _digest(asked) != _asked(name):
        raise CommandError(
            ExitCode.CORRUPT, f"{file} asks for other files than its name says", fix=FIX
        )
    to_item = _TO_ITEM[work.kind]
    items = [to_item(item) for item, _ in plan_json.unpacked(asked["items"])]
    # The processes that read headers write the shards, too, as they do on one machine.
    functions = (
        facts_reader(work.group_salt),
        read_sop_instance_uid,
        image_records.maker(work.pixels),
    )
    with unit_pool.pool(
        *functions, num_workers=work.num_workers, limits=work.limits
    ) as p:
        results = [
            plan_json.of_result(result, _OF_VALUE[work.kind])
            for _, result in source_sight.checked(
                work.sources, p.imap_ordered(work.function(), items)
            )
        ]
    read = {"asked": _asked(name), "results": plan_json.packed(results)}
    # Who has deleted the folder has the plan, or has given this attempt up.
    durable.write_json(work.path(name, READ), read, make_folder=False)
    return name


def _digest(asked: dict) -> str:
    text = json.dumps(asked, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _asked(name: str) -> str:
    """Returns the digest in the name of a chunk."""
    return name.partition("-")[2]


def _same(value: str) -> str:
    return value


_OF_ITEM = {"facts": plan_json.of_probe, "ids": plan_json.of_file}
_TO_ITEM = {"facts": plan_json.to_probe, "ids": plan_json.to_file}
_OF_VALUE = {"facts": plan_json.of_facts, "ids": _same}
_TO_VALUE = {"facts": plan_json.to_facts, "ids": _same}
