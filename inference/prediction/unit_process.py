"""What a process of a cluster does: it loads the members once, then predicts shards.

A cluster's process imports this module before TensorFlow, which has settings of ours.
"""

import os
from collections.abc import Callable

from inference.config import PredictConfig


def load(config: PredictConfig, *, num_threads: int) -> Callable[[int], str]:
    """Loads the members on the devices of this process.

    Args:
      config: configuration of a started prediction, see job.settled; its paths are
        absolute.
      num_threads: cores that this process may use.

    Returns:
      Predicts the chunks that the output folder lacks of a shard, by its index among
      the shards of the prediction; returns its name.

    Raises:
      CommandError: a member or dataset is bad, the output folder has no request of this
        prediction, or a device lacks memory.
    """
    # As in flags/command.py: TensorFlow reads it when it is imported.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from trainer.machine import backend

    backend.load()
    from inference.prediction import process_setup
    from inference.prediction.job import Job
    from inference.prediction.loaded_ensemble import LoadedEnsemble
    from inference.prediction.process_notes import ProcessNotes

    notes = ProcessNotes(config.output)
    with notes.kept():
        process_setup.set_up(config, num_threads=num_threads)
    # The driver has said what it has to say of the job.
    job = Job(config)
    folder = job.folder()
    folder.check_request()
    with notes.kept():
        ensemble = LoadedEnsemble(job)

    def predict(index: int) -> str:
        with notes.kept():
            # What an earlier attempt has done is not done again.
            for remaining in job.left(folder, [index]).values():
                ensemble.predict(folder, remaining)
        return job.shards[0][index].name

    return predict
