"""Reads the headers of all images, and their masks, before any pixel is decoded."""

import logging

from data_prep.build.source_inputs import SourceInputs
from data_prep.config import ConvertConfig
from data_prep.core import workers
from data_prep.core.errors import InputError
from data_prep.core.progress import tracked
from data_prep.dataset import rle
from data_prep.pixels import mask_plausibility
from data_prep.source.probe import HeaderFacts
from data_prep.source.probe import Probe
from data_prep.source.probe import read_header_facts
from data_prep.source.quarantine import Quarantine


def read(
    config: ConvertConfig,
    inputs: SourceInputs,
    pool: workers.WorkerPool,
    quarantine: Quarantine,
) -> dict[str, HeaderFacts]:
    """Returns {image id: facts} of every image whose header can be read.

    Args:
      config: the conversion.
      inputs: its images and labels.
      pool: workers that can apply `read_header_facts`.
      quarantine: takes the others.

    Raises:
      CommandError: most masks of the set cannot be.
    """
    paths = inputs.train | inputs.test
    probes = [
        Probe(
            file=file,
            mask_file=inputs.masks.get(i),
            rows=tuple(inputs.rows[i]) if inputs.rows and i in inputs.train else None,
            modalities=config.modalities,
            refuse_burned_in=config.refuse_burned_in,
        )
        for i, file in paths.items()
    ]
    results = pool.imap_ordered(read_header_facts, probes)
    facts, faults = {}, []
    # imap_ordered keeps the order of `probes`, which is that of the ids in `paths`.
    for image_id, (probe, result) in zip(
        paths, tracked(results, "headers", len(paths), unit="files"), strict=True
    ):
        if isinstance(result, InputError):
            quarantine.add(probe.file.shown, result)
            faults.append(result)
        else:
            facts[image_id] = result
    with_mask = sum(p.mask_file is not None or _has_runs(p.rows) for p in probes)
    num_empty = sum(f.positive is False for f in facts.values())
    mask_plausibility.refuse_set(faults, with_mask - num_empty)
    _warn_of_unusual_files(facts)
    return facts


def _has_runs(rows: tuple[str, ...] | None) -> bool:
    return rows is not None and rows != (rle.EMPTY,)


def _warn_of_unusual_files(facts: dict[str, HeaderFacts]) -> None:
    # The log gets no tag values: a damaged one may hold anything.
    no_film = sorted(i for i, f in facts.items() if not f.is_film)
    if no_film:
        logging.warning(
            "The modality of %d images, the first is %s, is not that of a plain "
            "X-ray; --modalities=CR,DX would refuse them.",
            len(no_film),
            no_film[0],
        )
    burned_in = sorted(i for i, f in facts.items() if f.burned_in)
    if burned_in:
        logging.warning(
            "%d images, the first is %s, say that text is drawn into their pixels; "
            "it may name patients. --refuse_burned_in would refuse them.",
            len(burned_in),
            burned_in[0],
        )
