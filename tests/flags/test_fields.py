"""Adding a flag takes its field and its definition: the reader finds both by name."""

import dataclasses
import math
import pathlib
import pwd
from typing import Annotated
from typing import Literal

import pytest
from absl import flags
from absl.testing import flagsaver

from data_prep import config as data_prep_config
from data_prep.core.errors import CommandError
from data_prep.core.errors import ConfigError
from data_prep.core.ranges import Range
from data_prep.core.ranges import check_ranges
from flags import average as average_flags
from flags import common
from flags import crossval as crossval_flags
from flags import data_prep as data_prep_flags
from flags import evaluate as evaluate_flags
from flags import export as export_flags
from flags import fields
from flags import inference as inference_flags
from flags import preview as preview_flags
from flags import synthetic as synthetic_flags
from flags import trainer as trainer_flags
from flags import tune as tune_flags
from flags import vote as vote_flags
from flags.groups import Groups
from inference import config as inference_config
from trainer import config as trainer_config

# The configs of all commands, each with the function that reads its flags, the
# command's groups, and flags with which the config is valid.
CONFIGS = {
    data_prep_config.ConvertConfig: (
        data_prep_flags.convert_config,
        data_prep_flags.GROUPS,
        "--output=a --source=b --rle_csv=c",
    ),
    data_prep_config.SyntheticConfig: (
        synthetic_flags.synthetic_config,
        synthetic_flags.GROUPS,
        "--output=a",
    ),
    trainer_config.TrainConfig: (trainer_flags.train_config, trainer_flags.GROUPS, ""),
    trainer_config.Execution: (
        trainer_flags.execution,
        trainer_flags.GROUPS,
        "--data=a --workdir=b",
    ),
    trainer_config.CrossValidation: (
        crossval_flags.cross_validation,
        crossval_flags.GROUPS,
        "--data=a --output=b",
    ),
    inference_config.ExportConfig: (
        export_flags.export_config,
        export_flags.GROUPS,
        "--members=a --output=b",
    ),
    trainer_config.PreviewConfig: (
        preview_flags.preview_config,
        preview_flags.GROUPS,
        "--data=a --output=b.png",
    ),
    inference_config.PredictConfig: (
        inference_flags.predict_config,
        inference_flags.GROUPS,
        "--data=a --members=b --output=c",
    ),
    inference_config.EvaluateConfig: (
        evaluate_flags.evaluate_config,
        evaluate_flags.GROUPS,
        "--submission=a --truth=b --output=c",
    ),
    inference_config.VoteConfig: (
        vote_flags.vote_config,
        vote_flags.GROUPS,
        "--submissions=a,b --output=c",
    ),
    inference_config.AverageConfig: (
        average_flags.average_config,
        average_flags.GROUPS,
        "--probability_csvs=a,b --output=c",
    ),
    inference_config.TuneConfig: (
        tune_flags.tune_config,
        tune_flags.GROUPS,
        "--predictions=a --truth=b --output=c",
    ),
}
# Fields that a command computes, and fields whose flag has another name.
COMPUTED = {"flagfile", "passed_over", "image_size", "placement"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sample:
    """A config with a field of each type."""

    s_path: pathlib.Path
    s_optional: pathlib.Path | None = None
    s_paths: tuple[pathlib.Path, ...] = ()
    s_text: str = "a"
    s_texts: tuple[str, ...] = ("a", "b")
    s_choice: Literal["x", "y"] = "y"
    s_switch: bool = True
    s_count: Annotated[int, Range(at_least=1, at_most=9)] = 2
    s_frame: int | None = None
    s_counts: tuple[int, ...] = (1, 2)
    s_rate: Annotated[float, Range(at_least=0, below=1)] = 0.5
    s_rates: tuple[Annotated[float, Range(above=0)], ...] = (0.25, 4096.0)

    def __post_init__(self):
        check_ranges(self)


@pytest.fixture(autouse=True)
def restored():
    """Restores the values of all flags; flagsaver removes the flags of a test."""
    with flagsaver.flagsaver():
        flags.FLAGS(["test"])
        yield


@pytest.fixture
def groups():
    names = [f.name for f in dataclasses.fields(Sample)]
    needed, *rest = [fields.define(Sample, n, f"`Value` {n}.") for n in names]
    return Groups(needed=(needed,), rare=tuple(rest))


def parse(*arguments):
    flags.FLAGS(["test", *arguments])


def test_flags_have_the_defaults_of_their_fields(groups):
    parse("--s_path=p")
    assert fields.read(Sample, groups) == Sample(s_path=pathlib.Path("p"))
    assert flags.FLAGS["s_rates"].serialize() == "--s_rates=0.25,4096"
    assert flags.FLAGS["s_path"].default is None


def test_each_type_is_read(groups):
    parse(
        "--s_path=p",
        "--s_optional=o",
        "--s_paths=a,b",
        "--s_text=t",
        "--s_texts=",
        "--s_choice=x",
        "--nos_switch",
        "--s_count=3",
        "--s_frame=4",
        "--s_counts=5,6",
        "--s_rate=0.25",
        "--s_rates=7,1e-3",
    )
    config = fields.read(Sample, groups)
    assert config == Sample(
        s_path=pathlib.Path("p"),
        s_optional=pathlib.Path("o"),
        s_paths=(pathlib.Path("a"), pathlib.Path("b")),
        s_text="t",
        s_texts=(),
        s_choice="x",
        s_switch=False,
        s_count=3,
        s_frame=4,
        s_counts=(5, 6),
        s_rate=0.25,
        s_rates=(7.0, 0.001),
    )
    assert {type(rate) for rate in config.s_rates} == {float}
    parse("--s_optional=")
    assert fields.read(Sample, groups).s_optional is None


@pytest.mark.parametrize(
    ("argument", "error", "message"),
    [
        ("--s_path=", CommandError, "^--s_path is missing; give it; Value s_path.$"),
        (
            "--s_counts=1,x",
            CommandError,
            "--s_counts=1,x has a value that is no integer; write integers separated",
        ),
        (
            "--s_rates=1,x",
            CommandError,
            "--s_rates=1,x has a value that is no number; write numbers separated",
        ),
        ("--s_rate=1", ConfigError, "Expected 0 <= value < 1. Received: s_rate=1$"),
        ("--s_rate=nan", ConfigError, "Expected 0 <= value < 1. Received: s_rate=nan"),
        ("--s_rates=1,0", ConfigError, "Expected 0 < value. Received: s_rates=0"),
    ],
)
def test_bad_values_are_named(groups, argument, error, message):
    parse("--s_path=p", argument)
    with pytest.raises(error, match=message):
        fields.read(Sample, groups)


@pytest.mark.parametrize(
    "argument", ["--s_count=0", "--s_count=10", "--s_rate=-1", "--s_choice=z"]
)
def test_a_flag_refuses_what_its_field_does(groups, argument):
    with pytest.raises(flags.IllegalFlagValueError, match=argument.split("=")[0]):
        parse(argument)


def test_a_new_field_is_filled_from_its_flag_alone():
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Longer(trainer_config.TrainConfig):
        new_knob: Annotated[int, Range(at_least=1)] = 3

    with pytest.raises(LookupError, match=r"Longer\.new_knob has no flag --new_knob"):
        fields.read(Longer, trainer_flags.GROUPS)
    rare = (
        *trainer_flags.GROUPS.rare,
        fields.define(Longer, "new_knob", "A `number`."),
    )
    groups = dataclasses.replace(trainer_flags.GROUPS, rare=rare)
    parse("--epochs=9")
    assert fields.read(Longer, groups).new_knob == 3
    parse("--new_knob=5")
    config = fields.read(Longer, groups)
    assert (config.new_knob, config.epochs) == (5, 9)


def test_a_flag_needs_a_field():
    with pytest.raises(LookupError, match="TrainConfig has no field epoch for --epoch"):
        fields.define(trainer_config.TrainConfig, "epoch", "`Number`.")


def test_a_flag_is_listed_under_the_module_that_defines_it(groups):
    by_module = flags.FLAGS.flags_by_module_dict()
    assert {f.name for f in by_module[__name__]} == set(groups.names())
    assert "epochs" in {f.name for f in by_module["flags.trainer"]}


def test_computed_values_replace_flags(groups):
    parse("--s_path=p", "--s_count=3")
    assert fields.read(Sample, groups, s_count=7, s_path="q").s_count == 7


def test_all_configs_are_known():
    modules = (data_prep_config, trainer_config, inference_config)
    defined = {
        value
        for module in modules
        for value in vars(module).values()
        if dataclasses.is_dataclass(value) and value.__module__ == module.__name__
    }
    assert defined - {inference_config.Engine, data_prep_config.Placement} == set(
        CONFIGS
    )


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: c.__name__)
def test_every_field_has_a_flag(config):
    groups = CONFIGS[config][1]
    names = {f.name for f in dataclasses.fields(config)}
    assert names - set(groups.names()) - COMPUTED == set()


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: c.__name__)
def test_a_default_stands_in_one_place(config):
    """Either in the shared flag, or in the field."""
    shared = {f.name: f for f in flags.FLAGS.flags_by_module_dict()["flags.common"]}
    both = {
        field.name
        for field in dataclasses.fields(config)
        if field.name in shared and field.default is not dataclasses.MISSING
    }
    assert both == set()
    assert common.SEED.name in shared


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: c.__name__)
def test_paths_without_a_default_are_needed(config):
    """The reader would fill them with None."""
    groups = CONFIGS[config][1]
    needed = {choice[0] for choice in groups.choices() if len(choice) == 1}
    paths = {
        field.name
        for field in dataclasses.fields(config)
        if field.type is pathlib.Path and field.default is dataclasses.MISSING
    }
    assert paths - needed == set()


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: c.__name__)
def test_no_config_takes_nan(config):
    read, _, arguments = CONFIGS[config]
    parse(*arguments.split())
    valid = read()
    for field in dataclasses.fields(config):
        value = getattr(valid, field.name)
        if isinstance(value, float):
            bad = math.nan
        elif isinstance(value, tuple) and value and isinstance(value[0], float):
            bad = (*value, math.nan)
        else:
            continue
        with pytest.raises(ConfigError, match=f"Received: {field.name}=nan"):
            dataclasses.replace(valid, **{field.name: bad})


def test_a_home_folder_is_expanded(groups, monkeypatch):
    """A shell leaves the ~ of --s_path=~/x alone."""
    monkeypatch.setenv("HOME", "/home/me")
    parse("--s_path=~/a", "--s_optional=~", "--s_paths=~/b,c~/~d", "--s_text=~/e")
    config = fields.read(Sample, groups)
    assert config.s_path == pathlib.Path("/home/me/a")
    assert config.s_optional == pathlib.Path("/home/me")
    assert config.s_paths == (pathlib.Path("/home/me/b"), pathlib.Path("c~/~d"))
    assert config.s_text == "~/e"
    parse(f"--s_path=~{pwd.getpwuid(0).pw_name}/a")
    expected = pathlib.Path(pwd.getpwuid(0).pw_dir, "a")
    assert fields.read(Sample, groups).s_path == expected
    parse("--s_path=./~none")
    assert fields.read(Sample, groups).s_path == pathlib.Path("~none")
    parse("--s_path=~no-such-user/a")
    with pytest.raises(CommandError, match="^~no-such-user/a names no home folder; "):
        fields.read(Sample, groups)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: c.__name__)
def test_every_path_may_begin_with_the_home_folder(config, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    read, _, arguments = CONFIGS[config]
    hints = {f.name: str(f.type) for f in dataclasses.fields(config)}
    names = [name for name, hint in hints.items() if "Path" in hint]
    for name in names:
        text = "~/x,~/y" if "tuple" in hints[name] else "~/x"
        parse(*arguments.split(), f"--{name}={text}")
        try:
            shown = str(getattr(read(), name))
        except ConfigError as e:
            # Some paths exclude others; the message has them.
            shown = str(e)
        assert "/home/me/x" in shown, name
        assert "~" not in shown, name
        flags.FLAGS[name].unparse()
