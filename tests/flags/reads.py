"""Records which flags a command reads, by running its main up to its work.

The spy replaces absl's property of a flag's value, which every access goes through.
"""

import contextlib
import importlib
from unittest import mock

from absl import flags
from absl.testing import flagsaver

from flags import command

# For each command, the function that does its work, and the flags that it needs.
COMMANDS = {
    "data_prep.synthetic": ("data_prep.phantom.synthetic_folder.write", "--output=a"),
    "data_prep.main": (
        "data_prep.build.convert.convert",
        "--output=a --source=b --rle_csv=c",
    ),
    "data_prep.verify": ("data_prep.check.verification.verify", "--data=a"),
    "data_prep.inspect": ("data_prep.view.inspect_page.write", "--data=a --output=b"),
    "trainer.main": ("trainer.loop.train", "--data=a --workdir=b"),
    "trainer.crossval": ("trainer.run.cross_validation.run", "--data=a --output=b"),
    "trainer.preview": (
        "trainer.input.preview_pictures.write",
        "--data=a --output=b.png",
    ),
    "trainer.doctor": ("trainer.machine.examination.examine", ""),
    "trainer.list_models": ("trainer.models.model_summary.table", ""),
    "inference.main": (
        "inference.prediction.predict.predict",
        "--data=a --members=b --output=c",
    ),
    "inference.export": (
        "inference.artefact.export.export",
        "--members=b --output=c",
    ),
    "inference.evaluate": (
        "inference.evaluation.evaluate.evaluate",
        "--submission=a --truth=b --output=c",
    ),
    "inference.vote": ("inference.combine.voting.vote", "--submissions=a,b --output=c"),
    "inference.average": (
        "inference.combine.averaging.average",
        "--probability_csvs=a,b --output=c",
    ),
    "inference.tune": (
        "inference.tuning.search.tune",
        "--predictions=a --truth=b --output=c",
    ),
}
# Flags that cross-validation sets for each member.
DECIDED = {"fold", "seed", "workdir"}


class _Work(Exception):
    """The command has read its flags and begins to work."""


def needed(name: str) -> list[str]:
    """Returns the arguments that a command requires."""
    return COMMANDS[name][1].split()


def of(name: str) -> set[str]:
    """Returns the names of the flags that a command uses."""
    if name == "trainer.main":
        return read_by_main(name, needed(name)) | {"preset"}
    if name == "trainer.crossval":
        # trainer.main trains each member with the other flags.
        member = of("trainer.main")
        return (read_by_main(name, needed(name)) | member) - DECIDED
    return read_by_main(name, needed(name))


def read_by_main(name: str, arguments: list[str]) -> set[str]:
    """Runs a command's main up to its work and returns the names of the flags it read.

    Raises:
      CommandError or ConfigError: the main refused the arguments.
    """
    main = importlib.import_module(name).main
    read = set()

    def value(flag):
        read.add(flag.name)
        return flag._value

    spied = property(value, flags.Flag.value.fset)
    with flagsaver.flagsaver(), contextlib.ExitStack() as stack:
        flags.FLAGS(["test", *arguments])
        stack.enter_context(mock.patch("trainer.machine.backend.load"))
        # as_flagfile reads every flag without using it.
        stack.enter_context(mock.patch.object(command, "as_flagfile", return_value=""))
        work = mock.patch(COMMANDS[name][0], side_effect=_Work)
        work = stack.enter_context(work)
        stack.enter_context(mock.patch.object(flags.Flag, "value", spied))
        stack.enter_context(contextlib.suppress(_Work))
        main()
    work.assert_called_once()
    return read
