"""Patient-grouped, stratified folds."""

import hashlib
import logging
from collections.abc import Mapping

import numpy as np

from data_prep.failures import ExitCode
from data_prep.failures import Failure


def group_of(patient_id: str, image_id: str, salt: str) -> str:
    """Returns a salted hash of the patient; an image without one is its own group."""
    key = f"patient:{patient_id}" if patient_id else f"image:{image_id}"
    digest = hashlib.blake2b(key.encode(), key=salt.encode()[:64], digest_size=16)
    return digest.hexdigest()


def assign(
    labels: Mapping[str, int], groups: Mapping[str, str], *, num_folds: int, seed: int
) -> dict[str, int]:
    """Assigns every image to a fold.

    Args:
      labels: {image id: 1 or 0}; each fold gets its share of both.
      groups: {image id: group}; no group is in two folds.
      num_folds: 2 or more.
      seed: of the shuffle.

    Returns:
      {image id: fold in 0..num_folds - 1}; independent of the mappings' order.

    Raises:
      Failure: fewer groups, or fewer positive images, than folds.
    """
    # Costs a second to import, and no worker needs it.
    from sklearn.model_selection import StratifiedGroupKFold

    ids = sorted(labels)
    classes = np.array([labels[i] for i in ids])
    names = [groups[i] for i in ids]
    num_groups = len(set(names))
    if num_groups < num_folds:
        raise _too_few("patients", num_groups, num_folds)
    if classes.sum() < num_folds:
        raise _too_few("positive images", classes.sum(), num_folds)
    if num_groups == len(ids):
        logging.warning(
            "Every image is its own group: PatientID is missing or differs in "
            "every file, so images of one patient may be in several folds."
        )
    splitter = StratifiedGroupKFold(num_folds, shuffle=True, random_state=seed)
    folds = {}
    for fold, (_, members) in enumerate(splitter.split(ids, classes, names)):
        folds |= {ids[k]: fold for k in members}
    return folds


def _too_few(what: str, found: int, num_folds: int) -> Failure:
    return Failure(
        ExitCode.TOO_MANY_BAD,
        f"{found} {what} cannot make {num_folds} folds",
        mend="give more images or a smaller --num_folds",
    )
