"""Parses a documented command of ours with the flags that it really has."""

from collections.abc import Callable
from typing import Any

from absl.testing import flagsaver

from data_prep.config import Placement
from flags import command_line
from flags import common
from flags import crossval as crossval_flags
from flags import data_prep as data_prep_flags
from flags import doctor as doctor_flags
from flags import evaluate as evaluate_flags
from flags import export as export_flags
from flags import inference as inference_flags
from flags import trainer as trainer_flags
from flags import tune as tune_flags
from flags import verify as verify_flags
from flags.groups import Groups

# Groups of flags, and what makes them configurations, which check their values.
_COMMANDS: dict[str, tuple[Groups, list[Callable[[], Any]]]] = {
    "data_prep.main": (data_prep_flags.GROUPS, [data_prep_flags.convert_config]),
    "data_prep.verify": (verify_flags.GROUPS, []),
    "inference.export": (export_flags.GROUPS, [export_flags.export_config]),
    "inference.main": (inference_flags.GROUPS, [inference_flags.predict_config]),
    "inference.evaluate": (evaluate_flags.GROUPS, [evaluate_flags.evaluate_config]),
    "inference.tune": (tune_flags.GROUPS, [tune_flags.tune_config]),
    "trainer.crossval": (crossval_flags.GROUPS, [crossval_flags.cross_validation]),
    "trainer.doctor": (doctor_flags.GROUPS, []),
    "trainer.main": (
        trainer_flags.GROUPS,
        [trainer_flags.train_config, trainer_flags.execution],
    ),
}
ROOMS = ("data_prep.", "trainer.", "inference.")


def is_ours(call: list[str]) -> bool:
    """Returns whether a call is `python -m` of a command of this project."""
    return call[1:2] == ["-m"] and call[2].startswith(ROOMS)


def check(call: list[str]) -> Placement | None:
    """Parses a call and returns where its work runs; None if it has no such flags.

    Args:
      call: `python`, `-m`, the command's name, and its arguments.

    Raises:
      AssertionError: a needed flag is missing, or an argument is not a flag.
      CommandError: there is no such flag, or the command does not use it.
      ConfigError: a value is refused.
      KeyError: there is no such command.
    """
    _, _, name, *arguments = call
    groups, readers = _COMMANDS[name]
    with flagsaver.flagsaver():
        positional = command_line.parse([name, *arguments], name, groups)
        assert positional == [name], f"not a flag: {positional[1:]}"
        given = {a.lstrip("-").partition("=")[0] for a in arguments}
        for choice in groups.choices():
            assert given & set(choice), f"{name} needs one of {choice}"
        for read in readers:
            read()
        return common.placement() if "cluster" in groups.names() else None
