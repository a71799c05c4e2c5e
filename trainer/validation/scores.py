"""The validation scores by which epochs may be ranked."""

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode

AUTO = "auto"
# Scores of segmenters alone.
_OF_MASKS = ("tuned_dice", "dice", "dice_positive", "pixel_ap")
# (needs images with a pneumothorax, needs images without).
_NEEDS = {
    "dice_positive": (True, False),
    "pixel_ap": (True, False),
    "auc": (True, True),
}


def resolve(best_by: str, *, segments: bool) -> str:
    """Returns the name of the score that `best_by` stands for.

    Args:
      best_by: see TrainConfig.
      segments: whether the model predicts masks.

    Raises:
      CommandError: the model cannot have the score.
    """
    if best_by == AUTO:
        return "tuned_dice" if segments else "auc"
    if best_by in _OF_MASKS and not segments:
        raise CommandError(
            ExitCode.FLAGS,
            f"--best_by={best_by} is a score of masks, and the model has none",
            fix="give --best_by=auc or --best_by=loss",
        )
    return best_by


def of_earlier_versions(*, segments: bool) -> str:
    """Returns the score that ranked epochs before it could be chosen."""
    return "dice" if segments else "auc"


def check_exists(
    name: str, *, fold: int, num_positives: int, num_negatives: int
) -> None:
    """Raises a CommandError if a fold lacks the images that a score needs."""
    needs_positives, needs_negatives = _NEEDS.get(name, (False, False))
    missing = []
    if needs_positives and not num_positives:
        missing.append("with")
    if needs_negatives and not num_negatives:
        missing.append("without")
    if missing:
        raise CommandError(
            ExitCode.FLAGS,
            f"fold {fold} has no image {missing[0]} a pneumothorax, and so no {name} "
            "to choose the best epoch by",
            fix="give --best_by=loss or another --fold",
        )
