"""--help has each flag in its group, with a placeholder and a default."""

import pathlib
import re
import runpy

import pytest
from absl import flags
from absl.testing import flagsaver

from data_prep.core.errors import CommandError
from data_prep.core.errors import ConfigError
from flags import command
from flags import common
from flags import crossval as crossval_flags
from flags import fields
from flags import help as help_text
from flags import preset
from flags import trainer as trainer_flags
from flags import tune as tune_flags
from flags.groups import Groups
from tests.flags import reads

ROOT = pathlib.Path(__file__).parents[2]


def groups_of(name, monkeypatch) -> Groups:
    """Returns the groups that a command passes to command.run."""
    calls = []
    monkeypatch.setattr(command, "run", lambda main, groups: calls.append(groups))
    runpy.run_path(f"{ROOT}/{name.replace('.', '/')}.py", run_name="__main__")
    return calls[0]


@pytest.fixture(params=sorted(reads.COMMANDS))
def command_name(request):
    return request.param


@pytest.fixture
def groups(command_name, monkeypatch):
    return groups_of(command_name, monkeypatch)


def test_no_flag_is_listed_twice_and_meanings_are_of_shared_flags(command_name, groups):
    names = groups.names()
    assert len(set(names)) == len(names)
    assert set(groups.meanings) <= set(names)
    package, command = command_name.split(".")
    own = f"flags.{package if command == 'main' else command}"
    for name in groups.meanings:
        assert flags.FLAGS.find_module_defining_flag(name) != own, name


def test_every_flag_is_read(command_name, groups):
    """A flag that neither a field nor the main reads has no effect."""
    assert set(groups.names()) - reads.of(command_name) == set()


def test_the_command_refuses_to_work_without_each_needed_flag(command_name, groups):
    arguments = {a.partition("=")[0]: a for a in reads.needed(command_name)}
    reads.read_by_main(command_name, list(arguments.values()))
    for choice in groups.choices():
        kept = [a for name, a in arguments.items() if name[2:] not in choice]
        assert len(kept) == len(arguments) - 1, (
            "the arguments have one flag of each choice"
        )
        with pytest.raises(
            (CommandError, ConfigError), match=f"--{choice[0]}|--{choice[-1]}"
        ):
            reads.read_by_main(command_name, kept)


def test_each_text_names_its_value_and_stands_alone(groups):
    for name in groups.names():
        text = groups.help_of(name)
        flag = flags.FLAGS[name]
        tells = flag.boolean or isinstance(flag, flags.EnumFlag)
        assert len(help_text.placeholders(text)) == (0 if tells else 1), name
        assert re.fullmatch(r"[A-Z`'].*\.", text, re.DOTALL), name
        assert not re.match(r"Their|Likewise|Of ", text), name


@pytest.mark.parametrize("width", [60, 80, 100])
def test_entries_fit_and_have_their_default(groups, width):
    shown = help_text.text("What it is.", groups, width=width, full=False)
    lines = shown.splitlines()
    # A flag's name and values are never wrapped.
    assert all(len(x) <= width for x in lines if " " in x.strip())
    entries = [" ".join(e.split()) for e in re.split(r"\n(?=  --)|\n\n", shown)]
    default = r"\((needed(, or --\w+)*|default: .+|not set by default)\)$"
    for name in groups.names():
        entry = [e for e in entries if re.match(rf"--(\[no\])?{name}\b", e)]
        assert len(entry) == 1, name
        assert re.search(default, entry[0]), entry


def test_help_of_a_command():
    groups = (trainer_flags.GROUPS, tune_flags.GROUPS)
    holders = {h.name: h for g in groups for h in (*g.common, *g.rare)}
    shown = help_text.text(
        """Checks a dataset.

        python -m data_prep.verify
        """,
        Groups(
            needed=((common.DATA, common.SOURCE),),
            common=(common.SEED, holders["jit"], holders["optimizer"]),
            rare=(holders["gates"], holders["learning_rate"], preset.PRESET),
            meanings={"data": "`Folder` to look at, which is said in many words."},
        ),
        width=60,
        full=False,
    )
    assert shown.startswith(
        """\
Checks a dataset.

python -m data_prep.verify

Needed:
  --data=FOLDER     Folder to look at, which is said in many
                    words. (needed, or --source)
  --source=FOLDER   Folder of images, nested or flat: DICOM
                    files, or PNG and JPEG files. (needed,
                    or --data)

Often used:
  --seed=SEED       Seed of everything random. (default: 0)
  --[no]jit         Compile the forward and the backward
                    pass with XLA; on several devices, the
                    parts between their all-reduces.
                    (default: off)
  --optimizer=adam|adamw|sgd
                    Rule by which the weights are updated.
                    (default: adam)

Rarely used:
  --gates=PROBABILITIES,...
                    Values to try: probabilities that the
"""
    )
    assert "(default: 0.001)" in shown
    assert "(not set by default)" in shown
    assert "0.9, 0.95)" in " ".join(shown.split())


def test_groups_without_some():
    groups = Groups(
        needed=(common.DATA, (common.SOURCE, common.TRUTH)),
        common=(common.SEED,),
        rare=(common.AUGMENT, common.OUTPUT),
        meanings={"seed": "a", "output": "b"},
    )
    rest = groups.without("data", "source", "seed", "augment")
    assert rest.choices() == [["truth"]]
    assert rest.names() == ["truth", "output"]
    assert rest.meanings == {"output": "b"}


def test_missing_flags_are_explained_without_quotes():
    wanted = "^--truth is missing; give it; Csv file of the"
    with flagsaver.flagsaver():
        flags.FLAGS(["test"])
        with pytest.raises(CommandError, match=wanted):
            fields.required(common.TRUTH)


def test_the_groups_of_a_member_are_those_of_the_trainer():
    member = set(trainer_flags.GROUPS.names()) - reads.DECIDED
    own = {"allow_open_cluster", "cluster", "gpus_per_member"}
    own |= {"folds", "output", "seeds"}
    assert set(crossval_flags.GROUPS.names()) == member | own
    assert set(crossval_flags.GROUPS.decided) == reads.DECIDED
    assert set(crossval_flags.GROUPS.decided.values()) == {"folds", "output", "seeds"}
