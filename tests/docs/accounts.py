"""What becomes of each command of a page: it is run, or something else checks it.

A command that no account fits fails a test, and so does an account without a command.
"""

import dataclasses
import fnmatch

from tests.docs.pages import Command


@dataclasses.dataclass(frozen=True, kw_only=True)
class Account:
    """What becomes of the commands of a page that match a pattern.

    Attributes:
      page: the page.
      pattern: of the whole command, as fnmatch takes it.
      extra: flags behind those of the page, which make the run small; None if it is
        not run.
      code: exit code that the run must have.
      checked_by: the file that checks it where it is not run, and what stands there
        of it; or None.
    """

    page: str
    pattern: str
    extra: tuple[str, ...] | None = None
    code: int = 0
    checked_by: tuple[str, str] | None = None


_CLUSTERS = ("tests/docs/test_clusters.py", '"clusters.md"')
_SETS = ("tests/data_prep/sets/test_documented_commands.py", '"datasets.md"')
_SERVING = ("tests/docs/test_serving.py", '"serving.md"')
# A test there parses the command with the flags that it has.
PARSED = ("tests/docs/test_pages.py", "accounts.PARSED")
# A network of the same kind that a core trains in seconds.
_SMALL = (
    "--model=uefficientnetpp(encoder=b0, dropout=0, shallow_dropout=0, drop_connect=0)",
    "--encoder_weights=none",
    "--precision=float32",
    "--epochs=1",
    "--swa_epochs=1",
    "--global_batch_size=4",
)
_README = "README.md"
ACCOUNTS = (
    Account(
        page=_README, pattern="make demo", checked_by=(".ci/run", "make demo DEMO=")
    ),
    Account(page=_README, pattern="make test", checked_by=(".ci/run", "make test\n")),
    Account(
        page=_README,
        pattern="pip install -r requirements-gpu.txt -c constraints.txt",
        checked_by=("Makefile", "requirements-gpu.txt,requirements.txt"),
    ),
    Account(page=_README, pattern="python -m trainer.doctor", extra=(), code=0),
    Account(
        page=_README,
        pattern="python -m data_prep.main --source=dicom-images-train *",
        # Two films of every synthetic folder are faulty.
        extra=("--max_bad_fraction=0.1", "--allow_quarantined=2"),
    ),
    Account(page=_README, pattern="python -m data_prep.inspect *", extra=()),
    Account(page=_README, pattern="python -m data_prep.verify *", extra=()),
    Account(page=_README, pattern="python -m trainer.preview *", extra=()),
    Account(page=_README, pattern="python -m trainer.main *", extra=_SMALL),
    Account(page=_README, pattern="python -m trainer.crossval *", extra=_SMALL),
    Account(
        page=_README, pattern="python -m inference.main *--split=out_of_fold*", extra=()
    ),
    Account(page=_README, pattern="python -m inference.tune *", extra=()),
    Account(
        page=_README,
        pattern="python -m inference.main --data=* --members='runs/fold[*]' *",
        extra=(),
    ),
    Account(page=_README, pattern="python -m inference.evaluate *", extra=()),
    Account(page=_README, pattern="python -m inference.export *", extra=()),
    Account(
        page=_README,
        pattern="python -m inference.main --source=films *",
        # The page's prediction above has taken the folder.
        extra=("--output=prediction_of_films",),
    ),
    Account(
        page=_README,
        pattern="python -m inference.main *--cluster=auto",
        checked_by=PARSED,
    ),
    Account(page="docs/serving.md", pattern="python -m inference.export *", extra=()),
    Account(page="docs/serving.md", pattern="python served/predict.py *", extra=()),
    Account(page="docs/serving.md", pattern="docker run *", checked_by=_SERVING),
    Account(page="docs/serving.md", pattern="curl *", checked_by=_SERVING),
    Account(
        page="docs/serving.md",
        pattern="pip install -r requirements-onnx.txt *",
        checked_by=("Makefile", "onnx.txt"),
    ),
    Account(
        page="docs/serving.md",
        pattern="pip install -r requirements-openvino.txt *",
        checked_by=("Makefile", "openvino.txt"),
    ),
    Account(page="docs/results.md", pattern="python -m inference.main *", extra=()),
    Account(page="docs/clusters.md", pattern="*", checked_by=_CLUSTERS),
    Account(page="docs/datasets.md", pattern="*", checked_by=_SETS),
    Account(page="docs/install.md", pattern="python -m trainer.doctor", extra=()),
)


def of(command: Command) -> Account | None:
    """Returns the account of a command: the first that fits."""
    for account in ACCOUNTS:
        if account.page == command.page and fnmatch.fnmatchcase(
            command.text, account.pattern
        ):
            return account
    return None
