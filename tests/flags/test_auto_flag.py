"""--deterministic takes three values, and the spellings of a flag of bool."""

import pytest
from absl import flags
from absl.testing import flagsaver

from flags import command
from flags import help as help_text
from flags import trainer as trainer_flags
from flags.auto_flag import AutoFlag

SPELLINGS = {
    "--deterministic=auto": None,
    "--deterministic=true": True,
    "--deterministic=false": False,
    "--deterministic=1": True,
    "--deterministic": True,
    "--nodeterministic": False,
}


@pytest.fixture(autouse=True)
def restored():
    with flagsaver.flagsaver():
        flags.FLAGS(["test"])
        yield


def test_the_default_is_auto():
    assert trainer_flags.train_config().deterministic is None


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_parses_and_replays(spelling, tmp_path):
    (tmp_path / "flags").write_text(f"--deterministic\n{spelling}\n")
    for arguments in ([spelling], [f"--flagfile={tmp_path / 'flags'}"]):
        flags.FLAGS(["test", *arguments])
        assert trainer_flags.train_config().deterministic is SPELLINGS[spelling]
    text = command.as_flagfile(trainer_flags.GROUPS)
    flags.FLAGS["deterministic"].unparse()
    flags.FLAGS(["test", *text.splitlines()])
    assert trainer_flags.train_config().deterministic is SPELLINGS[spelling]


@pytest.mark.parametrize("value", ["", "maybe", "Auto "])
def test_other_values_are_refused(value):
    with pytest.raises(flags.IllegalFlagValueError, match="--deterministic=.*auto"):
        flags.FLAGS(["test", f"--deterministic={value}"])


def test_help_shows_the_three_values():
    assert isinstance(flags.FLAGS["deterministic"], AutoFlag)
    text = help_text.text("Trains.", trainer_flags.GROUPS, width=80, full=False)
    begin = text.index("--deterministic")
    entry = text[begin : text.index("--[no]jit")]
    assert entry.startswith("--deterministic=auto|true|false")
    assert "(default: auto)" in " ".join(entry.split())
