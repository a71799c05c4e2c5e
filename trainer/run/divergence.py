"""What is said of steps whose loss or gradient is not finite."""

import logging
import math

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from trainer.run.train_progress import TrainProgress


def failure(
    loss: float, *, loss_scale: float | None, where: str, image_ids: list[str]
) -> CommandError:
    """Returns the error of a run that has diverged.

    Args:
      loss: the step's loss; its gradient is at fault if that is finite.
      loss_scale: of the step; None without loss scaling. A gradient is at fault only
        when it has been halved as often as it makes sense.
      where: step and epoch.
      image_ids: images of the step's batch.
    """
    what = "gradient" if math.isfinite(loss) else "loss"
    at_scale = "" if loss_scale is None else f" at loss scale {loss_scale:g}"
    return CommandError(
        ExitCode.DIVERGED,
        f"the {what} is not finite{at_scale} in {where}, on the images "
        f"{', '.join(image_ids)}; no weight was changed by it",
        fix="look at these images, or lower --learning_rate; the last checkpoint is "
        "kept",
    )


def log_skipped(progress: TrainProgress, loss_scale: float) -> None:
    """Logs how many steps of the current epoch were skipped, if any was."""
    if progress.skipped:
        logging.warning(
            "epoch %d: %d of %d steps skipped: float16 overflow, loss scale now %g",
            progress.epoch + 1,
            progress.skipped,
            progress.step,
            loss_scale,
        )
