"""Notices a patient id that many images share, as anonymised exports write it."""

import collections
import statistics
from collections.abc import Mapping

from data_prep.build.folds import Cause

# A study of one patient may have 9 images.
_MIN_IMAGES = 10
_MOST = 0.5
_MANY = 0.2
_USUAL = 3


def find(patients: Mapping[str, str]) -> Cause | None:
    """Returns what is odd if one id stands in for many patients, or None.

    An id is odd if at least 10 images have it, and these are more than half of all, or
    more than a fifth while half of the other patients have 3 images at most. The id is
    not told, as it may be the name of a patient.

    Args:
      patients: {image id: patient id}, '' if unknown.
    """
    counts = collections.Counter(p for p in patients.values() if p)
    for patient, count in counts.most_common(1):
        others = [n for other, n in counts.items() if other != patient]
        others_few = bool(others) and statistics.median(others) <= _USUAL
        share = count / len(patients)
        if count >= _MIN_IMAGES and (share > _MOST or share > _MANY and others_few):
            return Cause(
                what=f"{count} of {len(patients)} images have one patient id, as "
                "anonymised files do, and count as one patient",
                fix="name the patients in --group_csv or with --patient_column",
            )
    return None
