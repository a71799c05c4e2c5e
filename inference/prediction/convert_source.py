"""Files as they come to a dataset, by the options of the members' training."""

import logging
import pathlib

from data_prep.build import convert as conversion
from data_prep.config import ConvertConfig
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from inference.config import PredictConfig
from trainer.run import run_folder

FOLDER = "dataset"
# What may differ among members: their sizes, and what is about labels alone.
_OF_A_RUN = {"image_size", "num_folds", "fold_seed", "published_folds", "inputs"}
_OF_A_RUN |= {"records_per_shard", "pixel_encoding"}


def convert(config: PredictConfig) -> tuple[ExitCode, tuple[pathlib.Path, ...]]:
    """Converts `config.source`, at the sizes of all members, into the output folder.

    Files that cannot be read are quarantined, `quarantine.csv` says why: they are
    in no csv of the prediction.

    Returns:
      DONE, or QUARANTINED where there are such files; and the folder.

    Raises:
      CommandError: members of different preprocessing, or no file that can be read.
    """
    runs = [run_folder.open_finished(p) for p in config.members + config.classifiers]
    options = [run.dataset["options"] for run in runs]
    first = _shared(options[0])
    for run, other in zip(runs, options, strict=True):
        differing = [k for k, v in _shared(other).items() if first.get(k) != v]
        if differing:
            raise CommandError(
                ExitCode.CONFLICT,
                f"{run.path} and {runs[0].path} were trained on other "
                f"{', '.join(differing)}",
                fix="predict with each of them and average the results",
            )
    path = config.output / FOLDER
    logging.info("converting %s", config.source)
    code = conversion.convert(
        ConvertConfig(
            source=None,
            test_source=config.source,
            output=path,
            sizes=tuple(sorted({o["image_size"] for o in options})),
            num_folds=options[0]["num_folds"],
            fold_seed=options[0]["fold_seed"],
            pixel_encoding=options[0]["pixel_encoding"],
            records_per_shard=options[0]["records_per_shard"],
            # A film that cannot be read must not keep the others from being read.
            max_bad_fraction=1.0,
            num_workers=config.num_workers,
            **first | {"modalities": tuple(first["modalities"])},
        )
    )
    return code, (path,)


def _shared(options: dict) -> dict:
    return {k: v for k, v in options.items() if k not in _OF_A_RUN}
