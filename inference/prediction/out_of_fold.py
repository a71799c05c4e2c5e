"""Chooses the members that predict an image: all, or those that did not train on it."""

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

TEST_FOLD = -1


@dataclasses.dataclass(frozen=True, kw_only=True)
class MemberGroup:
    """The run folders that predict the images of one fold.

    Attributes:
      members: run folders of segmenters.
      classifiers: run folders of classifiers.
    """

    members: tuple[pathlib.Path, ...]
    classifiers: tuple[pathlib.Path, ...]


def members_by_fold(
    config: PredictConfig, datasets: Sequence[Dataset]
) -> dict[int, MemberGroup]:
    """Returns {fold: the members that predict its images}; the test split is -1.

    Raises:
      CommandError: a run folder is bad; for labelled images also: a run was trained on
        another split, or a fold has members but lacks the classifiers of the others.
    """
    if config.split == "test":
        group = MemberGroup(members=config.members, classifiers=config.classifiers)
        return {TEST_FOLD: group}
    members = _runs_by_fold(config.members, datasets)
    classifiers = _runs_by_fold(config.classifiers, datasets)
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
        fold: MemberGroup(
            members=tuple(members.get(fold, ())),
            classifiers=tuple(classifiers.get(fold, ())),
        )
        for fold in folds
    }


def _runs_by_fold(
    paths: Sequence[pathlib.Path], datasets: Sequence[Dataset]
) -> dict[int, list[pathlib.Path]]:
    """Returns the run folders by their validation fold."""
    runs: dict[int, list[pathlib.Path]] = {}
    for path in paths:
        run = run_folder.open_finished(path)
        data = dataset_folders.for_run(run, datasets).manifest
        # A fold of another conversion has other images under the same number.
        if run.dataset != durable.to_jsonable(run_folder.dataset_facts(data)):
            raise CommandError(
                ExitCode.CONFLICT,
                f"{path} was trained on another conversion: which images it did not "
                "see cannot be told",
                fix="give the dataset folder that it was trained on",
            )
        runs.setdefault(run.config["fold"], []).append(path)
    return runs
