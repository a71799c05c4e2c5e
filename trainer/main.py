"""Trains one member of an ensemble: one model, one fold, one seed.

    python -m trainer.main --preset=uefficientnetpp_b4_256 \\
        --data=data/siim/256 --fold=0 --seed=0 --workdir=runs/b4-fold0

--preset=list shows all recipes. The flags.txt of a run folder replays the run,
by --flagfile. The same command continues an interrupted run.
"""

import json

from flags import command
from flags import trainer as trainer_flags


def main() -> None:
    config = trainer_flags.train_config()
    execution = trainer_flags.execution()
    # After the flags: TensorFlow takes seconds to import, and --help should not.
    from trainer.machine import backend

    backend.load()
    from trainer import loop

    result = loop.train(config, execution)
    print(json.dumps({"workdir": str(execution.workdir), **result["scores"]}))


if __name__ == "__main__":
    command.run(main, trainer_flags.GROUPS)
