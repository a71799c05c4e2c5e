"""A flagfile of somebody else costs one line and no memory."""

import os

import pytest
from absl.testing import flagsaver

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from flags import command_line
from flags import flagfiles
from flags import trainer as trainer_flags


@pytest.fixture(autouse=True)
def restored(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with flagsaver.flagsaver():
        yield


def parse(*arguments):
    argv = ["program", *arguments, "--data=a", "--workdir=b"]
    command_line.parse(argv, "trainer.main", trainer_flags.GROUPS)
    return trainer_flags.train_config()


def refused(*arguments):
    with pytest.raises(CommandError) as caught:
        parse(*arguments)
    assert caught.value.exit_code == ExitCode.FLAGS
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_no_arguments_at_all():
    # As of `python -m trainer.list_models`.
    flagfiles.check(["program"])


def test_files_that_include_others_are_read(tmp_path):
    (tmp_path / "inner").write_text("--fold=3\n")
    (tmp_path / "outer").write_text("# a comment\n--flagfile=inner\n--seed=7\n")
    for written in (["--flagfile=outer"], ["-flagfile", "outer"]):
        config = parse(*written)
        assert (config.fold, config.seed) == (3, 7)
    # The same file at two places is no circle.
    assert parse("--flagfile=inner", "--flagfile=outer").fold == 3


@pytest.mark.parametrize("written", [["--flagfile=a"], ["--flagfile", "./a"]])
def test_a_file_that_includes_itself(tmp_path, written):
    (tmp_path / "a").write_bytes(b"--fold=3\r-flagfile= b \r\n")
    (tmp_path / "b").symlink_to("c")
    (tmp_path / "c").write_text("--flagfile=./x/../a\n")
    (tmp_path / "x").mkdir()
    assert "a includes itself" in refused(*written)


def test_files_that_double(tmp_path):
    for k in range(40):
        (tmp_path / f"f{k}").write_text(f"--flagfile=f{k + 1}\n" * 2)
    assert "more than 100" in refused("--flagfile=f0")


def test_a_file_that_is_too_large(tmp_path):
    line = "--fold=3\n"
    (tmp_path / "a").write_text(line * (flagfiles.MAX_BYTES // len(line)))
    assert parse("--flagfile=a").fold == 3
    (tmp_path / "a").write_text(line * (flagfiles.MAX_BYTES // len(line) + 1))
    assert "a has over 1024 KiB" in refused("--flagfile=a")


def test_what_is_no_file(tmp_path):
    (tmp_path / "a").write_text("--flagfile=/dev/zero\n")
    assert "/dev/zero is no file" in refused("--flagfile=a")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "a").write_text("--flagfile=pipe\n")
    assert "pipe is no file" in refused("--flagfile=a")
    assert "is no file" in refused(f"--flagfile={tmp_path}")
    assert "Unable to open flagfile" in refused("--flagfile=gone")
    (tmp_path / "a").write_bytes(b"--fold=\xff\n")
    assert refused("--flagfile=a")


def test_a_pipe_of_the_shell_is_read():
    read, write = os.pipe()
    os.write(write, b"--fold=4\n")
    os.close(write)
    assert parse(f"--flagfile=/dev/fd/{read}").fold == 4
    os.close(read)
