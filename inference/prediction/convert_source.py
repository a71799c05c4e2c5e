"""Converts the files of --source to a dataset, with the options of the members."""

import dataclasses
import logging
import pathlib

from data_prep.build import convert as conversion
from data_prep.config import ConvertConfig
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.dataset import manifest
from data_prep.source import quarantine
from inference.config import PredictConfig
from trainer.run import run_folder

FOLDER = "dataset"
# Options that may differ between members: their sizes, and what concerns labels.
_MAY_DIFFER = {"image_size", "num_folds", "fold_seed", "published_folds", "inputs"}
_MAY_DIFFER |= {"records_per_shard", "pixel_encoding"}
_MAY_DIFFER |= {"id_from", "group_salt_check"}
# A version is warned of, see datasets.warn_of_other_versions.
_MAY_DIFFER |= {"labels", "label_rule", "schema_version"}


def convert(config: PredictConfig) -> tuple[ExitCode, tuple[pathlib.Path, ...]]:
    """Converts `config.source` into the output folder, at the sizes of all members.

    Unreadable files are quarantined: they are in no csv of the prediction, and
    `quarantine.csv` names the reason. What is no image is counted in one line of the
    log.

    Returns:
      DONE, or QUARANTINED if there are unreadable files; and the dataset's folder.

    Raises:
      CommandError: the members differ in preprocessing, or no file is readable.
    """
    runs = [run_folder.open_finished(p) for p in config.members + config.classifiers]
    options = [run.dataset["options"] for run in runs]
    shared = _shared(options[0])
    for run, other in zip(runs, options, strict=True):
        differing = [k for k, v in _shared(other).items() if shared.get(k) != v]
        if differing:
            raise CommandError(
                ExitCode.CONFLICT,
                f"{run.path} and {runs[0].path} were trained on other "
                f"{', '.join(differing)}",
                fix="predict with each of them and average the results",
            )
    path = config.output / FOLDER
    sizes = tuple(sorted({o["image_size"] for o in options}))
    logging.info("converting %s", config.source)
    code = conversion.convert(
        ConvertConfig(
            source=None,
            test_source=config.source,
            output=path,
            sizes=sizes,
            num_folds=options[0]["num_folds"],
            fold_seed=options[0]["fold_seed"],
            pixel_encoding=options[0]["pixel_encoding"],
            records_per_shard=options[0]["records_per_shard"],
            # Unreadable files must not stop the prediction of the others.
            max_bad_fraction=1.0,
            id_from=config.id_from,
            num_workers=config.num_workers,
            # A plan of the prediction needs all films.
            placement=dataclasses.replace(config.placement, plan_only=False),
            **shared | {"modalities": tuple(shared["modalities"])},
        )
    )
    if not manifest.read(path / str(sizes[0])).shards:
        raise CommandError(
            ExitCode.TOO_MANY_BAD,
            f"no film of {config.source} can be read",
            fix=f"see {path / quarantine.FILE_NAME}",
        )
    return code, (path,)


def _shared(options: dict) -> dict:
    return {k: v for k, v in options.items() if k not in _MAY_DIFFER}
