"""The commands of docs/serving.md are ones that exist, and its Python is Python."""

import ast
import pathlib
import re

import pytest
from absl import flags
from absl.testing import flagsaver

from flags import inference as inference_flags
from inference.artefact import saved_model
from tests.docs import our_flags
from tests.docs import shell

ROOT = pathlib.Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "serving.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """All calls that the page's commands make."""
    # A pattern such as runs/* has to match something.
    monkeypatch.setattr(inference_flags.glob, "glob", lambda pattern: [pattern])
    (tmp_path / "film1.png").write_bytes(b"x")
    script = "set -euo pipefail\n" + "\n".join(BLOCKS)
    with flagsaver.flagsaver():
        if not flags.FLAGS.is_parsed():
            flags.FLAGS(["test"])
        yield shell.calls(["-c", script], tmp_path, {})


def test_the_commands_are_ours_or_known(calls):
    ours = [call for call in calls if our_flags.is_ours(call)]
    assert len(ours) == 3
    for call in ours:
        our_flags.check(call)
    others = [call for call in calls if call not in ours]
    assert {call[0] for call in others} == {"base64", "curl", "docker", "pip", "python"}
    for call in others:
        if call[0] == "pip":
            assert (ROOT / call[call.index("-r") + 1]).exists()
        if call[0] == "python":
            assert call[1] == f"served/{saved_model.CLIENT}"


def test_the_server_has_the_name_of_the_warm_up_requests(calls):
    [server] = [call for call in calls if call[0] == "docker"]
    assert f"MODEL_NAME={saved_model.MODEL_NAME}" in server
    [request] = [call for call in calls if call[0] == "curl"]
    assert request[-1].endswith(f"/v1/models/{saved_model.MODEL_NAME}:predict")


def test_the_python_reads_outputs_that_there_are():
    [program] = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    ast.parse(program)
    outputs = set(re.findall(r"^\| (`.*?`) \| \[N", TEXT, re.MULTILINE))
    named = {name for names in outputs for name in re.findall(r"`(\w+)`", names)}
    assert set(re.findall(r'found\["(\w+)"\]', program)) <= named
