"""Each command of a page has an account, and what an account names is there."""

import shlex
import subprocess
import sys

import pytest
from absl import flags
from absl.testing import flagsaver

from flags import inference as inference_flags
from tests.docs import accounts
from tests.docs import our_flags
from tests.docs import pages

COMMANDS = [c for page in pages.all_pages() for c in pages.commands(page)]


def test_every_command_has_an_account():
    assert len(COMMANDS) > 40
    assert [c for c in COMMANDS if accounts.of(c) is None] == []


def test_every_account_has_a_command():
    used = [accounts.of(c) for c in COMMANDS]
    assert [a for a in accounts.ACCOUNTS if a not in used] == []


@pytest.mark.parametrize("account", accounts.ACCOUNTS, ids=str)
def test_a_command_is_run_or_named_where_it_is_checked(account):
    assert (account.extra is None) == (account.checked_by is not None)
    if account.checked_by:
        name, evidence = account.checked_by
        assert evidence in (pages.ROOT / name).read_text()


def test_the_flags_of_commands_that_are_not_run_exist(monkeypatch):
    monkeypatch.setattr(inference_flags.glob, "glob", lambda pattern: [pattern])
    parsed = [c for c in COMMANDS if accounts.of(c).checked_by == accounts.PARSED]
    assert parsed
    with flagsaver.flagsaver():
        if not flags.FLAGS.is_parsed():
            flags.FLAGS(["test"])
        for command in parsed:
            our_flags.check(shlex.split(command.text))


def test_blocks_are_read_in_both_forms(monkeypatch, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "Text with `python -m inline`.\n\n    make a   # why\n    python -m b \\\n"
        "        --c='d e'\n    12:00 output\n\n"
        "```sh\nexport A=1\npython -m f # g\n```\n"
        "\n```python\nmake = 1\n```\n"
    )
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    found = [c.text for c in pages.commands("page.md")]
    assert found == ["make a", "python -m b --c='d e'", "export A=1", "python -m f"]


def test_a_command_that_fails_is_a_failure(tmp_path):
    script = (
        "import sys\n"
        "from tests.docs import __main__ as run, accounts, pages\n"
        "only = pages.Command('README.md', 'python -m trainer.nothing --x')\n"
        "pages.all_pages = lambda: ['README.md']\n"
        "pages.commands = lambda page: [only]\n"
        "accounts.of = lambda c: accounts.Account(page='', pattern='', extra=())\n"
        "run._films = lambda folder: None\n"
        f"sys.argv = ['docs', '--output={tmp_path / 'docs'}']\n"
        "sys.exit(run.main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=pages.ROOT, capture_output=True, text=True
    )
    assert done.returncode == 1, done.stderr
    assert "ended with 1" in done.stdout
