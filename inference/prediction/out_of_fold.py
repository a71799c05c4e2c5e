"""Which members predict which images: all of them, or who did not train on them."""

import dataclasses
import logging
import pathlib
from collections.abc import Sequence

from data_prep.core import durable
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from inference.config import PredictConfig
from inference.inputs import datasets as dataset_folders
from inference.inputs.datasets import Dataset
from trainer.run import run_folder


@dataclasses.dataclass(frozen=True, kw_only=True)
class Team:
    """The run folders that predict together.

    Attributes:
      members: of segmenters.
      classifiers: of classifiers.
    """

    members: tuple[pathlib.Path, ...]
    classifiers: tuple[pathlib.Path, ...]


def teams(config: PredictConfig, datasets: Sequence[Dataset]) -> dict[int, Team]:
    """Returns {fold: who predicts its images}; the test split's fold is -1.

    Raises:
      CommandError: a bad run folder; for labelled images also a run that was trained on
        another split, or a fold with members and without the others' classifiers.
    """
    if config.split == "test":
        return {-1: Team(members=config.members, classifiers=config.classifiers)}
    members = _by_fold(config.members, datasets)
    classifiers = _by_fold(config.classifiers, datasets)
    if members and classifiers and members.keys() != classifiers.keys():
        fold = sorted(members.keys() ^ classifiers.keys())[0]
        raise CommandError(
            ExitCode.FLAGS,
            f"fold {fold} has no {'members' if fold in classifiers else 'classifiers'}",
            fix="give both of every fold",
        )
    folds = sorted(members.keys() | classifiers.keys())
    for fold in sorted(set(range(datasets[0].manifest.num_folds)) - set(folds)):
        logging.warning("no member for fold %d: its images are left out", fold)
    return {
        fold: Team(
            members=tuple(members.get(fold, ())),
            classifiers=tuple(classifiers.get(fold, ())),
        )
        for fold in folds
    }


def _by_fold(
    paths: Sequence[pathlib.Path], datasets: Sequence[Dataset]
) -> dict[int, list[pathlib.Path]]:
    """Returns the run folders by the fold that they did not train on."""
    of_fold: dict[int, list[pathlib.Path]] = {}
    for path in paths:
        run = run_folder.open_finished(path)
        data = dataset_folders.for_run(run, datasets).manifest
        # Folds are numbers: of another conversion they are other images.
        if run.dataset != durable.to_jsonable(run_folder.dataset_facts(data)):
            raise CommandError(
                ExitCode.CONFLICT,
                f"{path} was trained on another conversion: which images it did not "
                "see cannot be told",
                fix="give the dataset folder that it was trained on",
            )
        of_fold.setdefault(run.config["fold"], []).append(path)
    return of_fold
