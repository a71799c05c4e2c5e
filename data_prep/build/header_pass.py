"""Reads the headers of all images, and their masks, before any pixel is decoded."""

import logging
from collections.abc import Collection
from collections.abc import Iterator

from data_prep.build import header_unit
from data_prep.build.header_unit import HeaderReader
from data_prep.build.source_inputs import SourceInputs
from data_prep.config import ConvertConfig
from data_prep.core.errors import InputError
from data_prep.core.progress import tracked
from data_prep.dataset import rle
from data_prep.pixels import mask_plausibility
from data_prep.source.probe import HeaderFacts
from data_prep.source.probe import Probe
from data_prep.source.quarantine import Quarantine


def read(
    config: ConvertConfig,
    inputs: SourceInputs,
    reader: HeaderReader,
    quarantine: Quarantine,
) -> dict[str, HeaderFacts]:
    """Returns {image id: facts} of every image whose header can be read.

    Args:
      config: the conversion.
      inputs: its images and labels.
      reader: can apply `header_unit.facts_reader` of the conversion's secret.
      quarantine: takes the others.

    Raises:
      CommandError: most masks of the set cannot be.
    """
    probes = _Probes(config, inputs)
    results = reader.imap_ordered(header_unit.facts_reader(config.group_salt), probes)
    results = tracked(results, "headers", len(probes), unit="files")
    facts, faults, with_mask = {}, [], 0
    # imap_ordered keeps the order of `probes`, which is that of their ids.
    for image_id, (probe, result) in zip(probes.ids(), results, strict=True):
        with_mask += probe.mask_file is not None or _has_runs(probe.rows)
        if isinstance(result, InputError):
            quarantine.add(probe.file.shown, result)
            faults.append(result)
        else:
            facts[image_id] = result
    num_empty = sum(f.positive is False for f in facts.values())
    mask_plausibility.refuse_set(faults, with_mask - num_empty)
    _warn_of_unusual_files(facts)
    return facts


class _Probes(Collection):
    """The probes of all images, each made when it is asked for: millions take GBs."""

    def __init__(self, config: ConvertConfig, inputs: SourceInputs):
        self._config, self._inputs = config, inputs

    def __len__(self) -> int:
        return len(self._inputs.train) + len(self._inputs.test)

    def __contains__(self, probe: object) -> bool:
        return any(probe == other for other in self)

    def __iter__(self) -> Iterator[Probe]:
        return map(self._probe, self.ids())

    def ids(self) -> Iterator[str]:
        """Yields the images' ids in the order of the probes."""
        yield from self._inputs.train
        yield from self._inputs.test

    def _probe(self, image_id: str) -> Probe:
        inputs = self._inputs
        is_train = image_id in inputs.train
        has_rows = is_train and inputs.rows
        return Probe(
            file=(inputs.train if is_train else inputs.test)[image_id],
            mask_file=inputs.masks.get(image_id),
            rows=tuple(inputs.rows[image_id]) if has_rows else None,
            modalities=self._config.modalities,
            refuse_burned_in=self._config.refuse_burned_in,
        )


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
