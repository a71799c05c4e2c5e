"""What a plan is made of, as JSON: files, probes, what headers say, and tasks.

Names of files may hold bytes that are not UTF-8; Python's lone surrogates stand for
them, which JSON keeps as escapes.
"""

import json
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from typing import Any

from data_prep.build.image_records import Task
from data_prep.core import remote
from data_prep.core.errors import InputError
from data_prep.source.probe import HeaderFacts
from data_prep.source.probe import Probe
from data_prep.source.source_file import SourceFile

Json = Any


def packed(rows: Iterable[Json]) -> list[str]:
    """Returns each row as one string, for a file of millions of values.

    Python's JSON module indents in Python, which takes ten times as long.
    """
    return [json.dumps(row, separators=(",", ":")) for row in rows]


def unpacked(stored: list[str]) -> Iterator[Json]:
    """Yields what `packed` was given."""
    return map(json.loads, stored)


def of_file(file: SourceFile | None) -> Json:
    """Returns a file as JSON, None as None."""
    return file and [str(file.path), file.member, file.gzipped, file.kind]


def to_file(stored: Json) -> SourceFile | None:
    """Returns what `of_file` was given."""
    if stored is None:
        return None
    path, member, gzipped, kind = stored
    return SourceFile(
        path=remote.parse(path), member=member, gzipped=gzipped, kind=kind
    )


def of_probe(probe: Probe) -> Json:
    """Returns a probe as JSON."""
    return [
        of_file(probe.file),
        of_file(probe.mask_file),
        list(probe.modalities),
        probe.refuse_burned_in,
        _list(probe.rows),
    ]


def to_probe(stored: Json) -> Probe:
    """Returns what `of_probe` was given."""
    file, mask_file, modalities, refuse_burned_in, rows = stored
    return Probe(
        file=to_file(file),
        mask_file=to_file(mask_file),
        modalities=tuple(modalities),
        refuse_burned_in=refuse_burned_in,
        rows=_tuple(rows),
    )


def of_facts(facts: HeaderFacts) -> Json:
    """Returns what a header says as JSON; the patient has to be hashed already."""
    return [
        facts.patient_id,
        facts.pixels_digest,
        facts.is_film,
        facts.burned_in,
        facts.positive,
        facts.num_pixels,
        facts.mask_sha256,
    ]


def to_facts(stored: Json) -> HeaderFacts:
    """Returns what `of_facts` was given."""
    patient_id, pixels_digest, is_film, burned_in, positive, num_pixels, mask = stored
    return HeaderFacts(
        patient_id=patient_id,
        pixels_digest=pixels_digest,
        is_film=is_film,
        burned_in=burned_in,
        positive=positive,
        num_pixels=num_pixels,
        mask_sha256=mask,
    )


def of_result(result: Any, of_value: Callable[[Any], Json]) -> Json:
    """Returns what a worker answered as JSON: a value, or why there is none."""
    if isinstance(result, InputError):
        return {"code": result.code, "reason": result.reason, "fix": result.fix}
    return {"value": of_value(result)}


def to_result(stored: Json, to_value: Callable[[Json], Any]) -> Any:
    """Returns what `of_result` was given."""
    if "code" in stored:
        return InputError(stored["code"], stored["reason"], fix=stored["fix"])
    return to_value(stored["value"])


def of_task(task: Task) -> Json:
    """Returns a task as JSON."""
    return [
        task.image_id,
        of_file(task.file),
        _list(task.rows),
        of_file(task.mask_file),
        task.label,
        task.fold,
        task.group,
        task.expected_sha256,
        task.num_pixels,
    ]


def to_task(stored: Json) -> Task:
    """Returns what `of_task` was given."""
    image_id, file, rows, mask_file, label, fold, group, expected, num_pixels = stored
    return Task(
        image_id=image_id,
        file=to_file(file),
        rows=_tuple(rows),
        mask_file=to_file(mask_file),
        label=label,
        fold=fold,
        group=group,
        expected_sha256=expected,
        num_pixels=num_pixels,
    )


def _list(values: tuple | None) -> list | None:
    return None if values is None else list(values)


def _tuple(values: list | None) -> tuple | None:
    return None if values is None else tuple(values)
