"""Assigns images to patient-grouped, stratified folds."""

import collections
import dataclasses
import hashlib
import logging
import pathlib
from collections.abc import Mapping
from collections.abc import Sequence

import numpy as np

from data_prep.build import stratified_groups
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.labels.rle_csv import read_pairs
from data_prep.source.name_matching import Resolver

_ID_COLUMNS = ("ImageId", "fname", "image_id", "id", "Image Index")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cause:
    """Why images or patients are few: one clause, and what to do about it."""

    what: str
    fix: str


def group_of(patient_id: str, image_id: str, salt: str) -> str:
    """Returns a salted hash of the patient, or of the image if that is unknown."""
    key = f"patient:{patient_id}" if patient_id else f"image:{image_id}"
    # Damaged text may hold lone surrogates, which UTF-8 cannot encode.
    digest = hashlib.blake2b(
        key.encode(errors="surrogatepass"), key=salt.encode()[:64], digest_size=16
    )
    return digest.hexdigest()


def join(groups: Mapping[str, str], digests: Mapping[str, str]) -> dict[str, str]:
    """Joins groups that share a picture.

    Args:
      groups: {image id: group}.
      digests: {image id: digest of its pixels}, '' if unknown.

    Returns:
      {image id: group}; joined groups get the name that sorts first among theirs.
    """
    joined: dict[str, str] = {}

    def leader(group: str) -> str:
        while group in joined:
            group = joined[group]
        return group

    first_with: dict[str, str] = {}
    for image_id, digest in sorted(digests.items()):
        if digest:
            other = leader(groups[first_with.setdefault(digest, image_id)])
            first, second = sorted((leader(groups[image_id]), other))
            if first != second:
                joined[second] = first
    return {image_id: leader(group) for image_id, group in groups.items()}


def assign(
    labels: Mapping[str, int],
    groups: Mapping[str, str],
    *,
    num_folds: int,
    seed: int,
    causes: Sequence[Cause] = (),
) -> dict[str, int]:
    """Assigns every image to a fold.

    Args:
      labels: {image id: 1 or 0}; each fold gets its share of both.
      groups: {image id: group}; no group is in two folds.
      num_folds: 2 or more.
      seed: seed of the shuffle.
      causes: why there may be too few, for the message.

    Returns:
      {image id: fold in 0..num_folds - 1}, independent of the mappings' order.

    Raises:
      CommandError: fewer groups, or fewer positive images, than folds.
    """
    ids = sorted(labels)
    classes = np.array([labels[i] for i in ids])
    # The seed changes the groups' names, which break ties. StratifiedGroupKFold's own
    # shuffle mixes up the class counts of the groups, so its folds are not stratified
    # (fixed by scikit-learn's pull request 32540).
    names = [_shuffled_name(groups[i], seed) for i in ids]
    num_groups = len(set(names))
    if num_groups < num_folds:
        raise _too_few("patients", num_groups, num_folds, causes)
    if classes.sum() < num_folds:
        raise _too_few("positive images", classes.sum(), num_folds, causes)
    if num_groups == len(ids):
        logging.warning(
            "Every image is its own group: PatientID is missing or differs in "
            "every file, so images of one patient may be in several folds."
        )
    fold_of = _deal(classes, names, num_folds).tolist()
    return dict(zip(ids, fold_of, strict=True))


def read_published(
    path: pathlib.Path,
    labels: Mapping[str, int],
    groups: Mapping[str, str],
    resolve: Resolver,
) -> dict[str, int]:
    """Reads a published split: a csv of `fname,fold` or `ImageId,fold`.

    Args:
      path: the csv.
      labels: {image id: 1 or 0} of the images that need a fold.
      groups: {image id: group}; a group in two folds is warned about.
      resolve: finds the images that its names mean.

    Raises:
      CommandError: images without a fold, or folds that are not 0, 1, 2, ...
    """
    stored = resolve.values_of(read_pairs(path, _ID_COLUMNS), path)
    missing = sorted(labels.keys() - stored.keys())
    if missing:
        raise CommandError(
            ExitCode.FLAGS,
            f"{path} has no fold for {len(missing)} images, first {missing[0]}",
            fix="add them, or leave out --folds_csv",
        )
    names = {stored[i] for i in labels}
    if names != {str(k) for k in range(len(names))} or len(names) < 2:
        raise CommandError(
            ExitCode.FLAGS,
            f"{path} has the folds {sorted(names)[:9]}",
            fix="number two or more folds from 0 on",
        )
    fold_of = {i: int(stored[i]) for i in labels}
    warn_of_divided([path], fold_of, groups)
    return fold_of


def warn_of_divided(
    paths: Sequence[pathlib.Path], fold_of: Mapping[str, int], groups: Mapping[str, str]
) -> None:
    """Logs how many patients a published split has in several folds.

    Args:
      paths: the files of the split.
      fold_of: {image id: fold}.
      groups: {image id: group}.
    """
    pairs = {(groups[i], fold) for i, fold in fold_of.items()}
    folds_of = collections.Counter(group for group, _ in pairs)
    num_divided = sum(count > 1 for count in folds_of.values())
    if num_divided:
        logging.warning(
            "%s puts %d patients into several folds: validation scores will be "
            "too good.",
            ", ".join(map(str, paths)),
            num_divided,
        )


def read_patients(path: pathlib.Path) -> dict[str, str]:
    """Reads {name of an image: patient id} from a csv of these two columns."""
    return read_pairs(path, _ID_COLUMNS)


def _deal(classes: np.ndarray, names: Sequence[str], num_folds: int) -> np.ndarray:
    if len(np.unique(classes)) == 2:
        return stratified_groups.deal(classes, names, num_folds)
    # Of positives alone, which are few. It takes a second to import.
    from sklearn.model_selection import StratifiedGroupKFold

    fold_of = np.zeros(len(names), np.int64)
    splitter = StratifiedGroupKFold(num_folds)
    for fold, (_, members) in enumerate(splitter.split(names, classes, names)):
        fold_of[members] = fold
    return fold_of


def _shuffled_name(group: str, seed: int) -> str:
    return hashlib.blake2b(f"{seed}:{group}".encode(), digest_size=8).hexdigest()


def _too_few(
    what: str, count: int, num_folds: int, causes: Sequence[Cause]
) -> CommandError:
    because = "; ".join(cause.what for cause in causes)
    fixes = [*(cause.fix for cause in causes), "give more images"]
    return CommandError(
        ExitCode.TOO_MANY_BAD,
        f"{count} {what} cannot make {num_folds} folds{because and f' ({because})'}",
        fix=f"{', '.join(fixes)} or a smaller --num_folds",
    )
