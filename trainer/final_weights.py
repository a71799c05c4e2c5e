"""The weights that a run ends with, and what they score."""

from typing import Any

from trainer.run import run_folder
from trainer.run.run_folder import RunFolder
from trainer.trainer import Trainer
from trainer.validation import epoch_report


def save(trainer: Trainer, run: RunFolder) -> dict[str, Any]:
    """Saves the last and the averaged weights; returns the scores of all weights."""
    config, state = trainer.config, trainer.state
    progress = state.progress
    run.save_weights(state.model, "last")
    best = progress.rows[progress.top[0][1] - 1]
    scores: dict[str, Any] = {
        "best_by": progress.best_by,
        f"best_{progress.best_by}": best[f"val_{progress.best_by}"],
        "best_epoch": best["epoch"],
        "last": epoch_report.validation_scores(progress.rows[-1]),
    }
    averages = {"ema": state.ema, "swa": state.swa if state.swa.count else None}
    for name, average in averages.items():
        if average is None:
            continue
        average.assign_to(state.model)
        if config.swa_update_bn:
            trainer.reestimate_batch_norm()
        scores[name] = trainer.validate()
        run.save_weights(state.model, name)
    if config.top_k > 1:
        column = f"val_{progress.best_by}"
        scores["top"] = {
            run_folder.epoch_name(e): progress.rows[e - 1][column]
            for _, e in progress.top
        }
    beats = epoch_report.beats_all_empty(
        {
            "best": epoch_report.validation_scores(best),
            **{k: v for k, v in scores.items() if k in ("last", *averages)},
        }
    )
    if beats:
        scores["beats_all_empty"] = beats
    epoch_report.warn_of_silence(beats)
    return scores
