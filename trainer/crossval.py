"""Trains the folds and seeds of an ensemble, one after the other or on a cluster.

    python -m trainer.crossval --data=data/siim/256 --folds=all --seeds=0,1 \\
        --preset=uefficientnetpp_b4_256 --output=runs/b4

It takes the flags of `python -m trainer.main` but --fold, --seed and --workdir,
which it gives to each member. The flags.txt of a run folder may be its
--flagfile: those three are then passed over. The same command continues.
"""

from data_prep.core.errors import ExitCode
from flags import command
from flags import crossval as crossval_flags
from flags import trainer as trainer_flags


def main() -> ExitCode:
    config = crossval_flags.cross_validation()
    member = trainer_flags.train_config()
    # After the flags: TensorFlow takes seconds to import, and --help should not.
    from trainer.machine import backend

    backend.load()
    from trainer.run import cross_validation

    return cross_validation.run(config, member)


if __name__ == "__main__":
    command.run(main, crossval_flags.GROUPS)
