"""Flags that a command does not use are refused; the order of sources of a value."""

import pytest
from absl import flags
from absl.testing import flagsaver

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from flags import command
from flags import command_line
from flags import crossval as crossval_flags
from flags import data_prep as data_prep_flags
from flags import evaluate as evaluate_flags
from flags import preset
from flags import trainer as trainer_flags
from flags import tune as tune_flags

TRAIN = ["--data=a", "--workdir=b"]


@pytest.fixture(autouse=True)
def restored():
    with flagsaver.flagsaver():
        yield


def parse(groups, *arguments, name="test.main"):
    return command_line.parse(["program", *arguments], name, groups)


def refused(groups, *arguments, name="test.main"):
    with pytest.raises(CommandError) as e:
        parse(groups, *arguments, name=name)
    assert e.value.exit_code == ExitCode.FLAGS
    return str(e.value)


@pytest.mark.parametrize("written", ["--truth=x", "-truth=x", "--truth x"])
def test_a_flag_of_another_command_is_refused(written):
    message = refused(data_prep_flags.GROUPS, *written.split(), name="data_prep.main")
    assert message.startswith("data_prep.main does not use --truth; --help lists")


def test_its_default_is_refused_on_the_command_line(tmp_path):
    """A user who writes it expects an effect."""
    assert "not use --jit" in refused(data_prep_flags.GROUPS, "--nojit")
    assert "not use --mask_size" in refused(trainer_flags.GROUPS, "--mask_size=1024")
    file = tmp_path / "flags.txt"
    file.write_text("--mask_size=1024\n--nojit\n--gates=0.05,0.1\n")
    assert "gates" in tune_flags.GROUPS.names()
    assert "not use --gates" in refused(trainer_flags.GROUPS, f"--flagfile={file}")


def test_the_nearest_flags_are_of_this_command():
    message = refused(evaluate_flags.GROUPS, "--num_images=3")
    assert "did you mean --num_pictures?" in message
    message = refused(evaluate_flags.GROUPS, "--num_imagez=3")
    assert message.startswith("Unknown command line flag 'num_imagez'; ")
    assert "--num_images" not in message
    assert "did you mean --submission?" in refused(evaluate_flags.GROUPS, "--submision")
    assert "did you mean" not in refused(evaluate_flags.GROUPS, "--qqq")


@pytest.mark.parametrize(
    "argument", ["--epochs=x", "--epochs=0", "--nojit=1", "--optimizer=lion"]
)
def test_bad_values_are_refused(argument):
    assert argument.split("=")[0] in refused(trainer_flags.GROUPS, argument)


def test_positional_arguments_are_returned():
    assert parse(trainer_flags.GROUPS, "fold=3", *TRAIN) == ["program", "fold=3"]


def test_a_flagfile_of_an_earlier_version_is_taken(tmp_path):
    """Such a file has flags that the trainer does not use, with their defaults."""
    file = tmp_path / "flags.txt"
    file.write_text("--fold=2\n--mask_size=1024\n--num_pictures=24\n--num_workers=0\n")
    parse(trainer_flags.GROUPS, f"--flagfile={file}", *TRAIN)
    assert trainer_flags.train_config().fold == 2


def test_a_run_and_its_cross_validation_replay(tmp_path):
    file = tmp_path / "flags.txt"
    arguments = ["--preset=winner_like_512", "--epochs=9", "--fold=3", "--seed=4"]
    with flagsaver.flagsaver():
        parse(trainer_flags.GROUPS, *arguments, *TRAIN)
        expected = trainer_flags.train_config()
        file.write_text(trainer_flags.execution().flagfile)
    assert "--preset" not in file.read_text()
    assert "--weight_decay=5e-06" in file.read_text()
    with flagsaver.flagsaver():
        parse(trainer_flags.GROUPS, f"--flagfile={file}")
        assert trainer_flags.train_config() == expected
    # crossval ignores fold, seed and workdir of the file.
    with flagsaver.flagsaver():
        parse(crossval_flags.GROUPS, f"--flagfile={file}", "--output=c", "--folds=1")
        config = crossval_flags.cross_validation()
    text = config.flagfile
    assert config.passed_over == ("--fold=3", "--seed=4", "--workdir=b")
    assert not {"--fold", "--seed", "--workdir", "--output", "--folds"} & {
        line.partition("=")[0] for line in text.splitlines()
    }
    # crossval passes this text to each member.
    file.write_text(text)
    member = ["--fold=3", "--seed=4", "--workdir=d"]
    parse(trainer_flags.GROUPS, f"--flagfile={file}", *member)
    assert trainer_flags.train_config() == expected


def test_only_ignored_flags_that_differ_from_their_default_are_reported(tmp_path):
    file = tmp_path / "own.flagfile"
    file.write_text("--fold=0\n--seed=4\n")
    parse(crossval_flags.GROUPS, f"--flagfile={file}", "--data=a", "--output=b")
    assert crossval_flags.cross_validation().passed_over == ("--seed=4",)


@pytest.mark.parametrize("name", preset.names())
def test_the_users_flags_override_the_preset(name, tmp_path):
    wanted = preset.read(name)
    file = tmp_path / "own.flagfile"
    file.write_text("--swa_epochs=0\n")
    own = ["--model=tiny", f"--flagfile={file}"]
    for arguments in ([f"--preset={name}", *own], [*own, f"--preset={name}"]):
        with flagsaver.flagsaver():
            parse(trainer_flags.GROUPS, *arguments, *TRAIN)
            config = trainer_flags.train_config()
        assert (config.model, config.swa_epochs) == ("tiny", 0)
        assert config.epochs == int(wanted.value("epochs"))
        assert config.learning_rate == float(wanted.value("learning_rate"))


@pytest.mark.parametrize("name", preset.names())
def test_a_preset_is_its_flagfile(name):
    with flagsaver.flagsaver():
        parse(trainer_flags.GROUPS, f"--flagfile={preset.FOLDER}/{name}.flagfile")
        expected = command.as_flagfile(trainer_flags.GROUPS)
    parse(crossval_flags.GROUPS, f"--preset={name}", "--data=a", "--output=b")
    lines = command.as_flagfile(trainer_flags.GROUPS).splitlines()
    assert sorted(lines) == sorted([*expected.splitlines(), "--data=a"])


def test_a_preset_in_a_flagfile(tmp_path):
    file = tmp_path / "own.flagfile"
    file.write_text("--preset=unet_512\n--epochs=5\n")
    parse(trainer_flags.GROUPS, f"--flagfile={file}", *TRAIN)
    config = trainer_flags.train_config()
    assert (config.model.partition("(")[0], config.epochs) == ("unet", 5)


def test_presets_are_for_training():
    assert "not use --preset" in refused(data_prep_flags.GROUPS, "--preset=demo")
    assert flags.FLAGS["preset"].default is None
