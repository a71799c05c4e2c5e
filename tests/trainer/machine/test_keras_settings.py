"""The lines on a user's own Keras settings."""

import pytest

from tests.trainer.machine.made_up import only
from trainer.machine import keras_settings
from trainer.machine.finding import Status


@pytest.mark.parametrize(
    ("text", "status", "said"),
    [
        ('{"backend": "tensorflow"}', "ok", "backend tensorflow, channels_last"),
        ('{"backend": "jax"}', "warning", "backend=jax of yours: not used"),
        ('{"image_data_format": "channels_first"}', "warning", "channels_first"),
        ('{"floatx": "float16"}', "warning", "floatx=float16"),
        ('{"floatx": "float8"}', "fault", "floatx='float8' in"),
        ('{"epsilon": 1}', "fault", "epsilon=1 in"),
        ('{"image_data_format": ["a"]}', "fault", "image_data_format=['a'] in"),
        ("[1]", "fault", "a list instead of an object"),
        ("{", "warning", "is not JSON"),
    ],
)
def test_keras_settings(tmp_path, text, status, said):
    file = tmp_path / "keras.json"
    file.write_text(text)
    found = only(keras_settings.check(file, ""))
    assert found.status.value == status
    assert said in found.text
    if status == "fault":
        assert f"rm {file}" in found.fix


def test_keras_settings_of_the_environment_and_none(tmp_path, monkeypatch):
    found = only(keras_settings.check(tmp_path / "none", "torch"))
    assert found.status is Status.WARNING
    assert "KERAS_BACKEND=torch" in found.text
    assert only(keras_settings.check(tmp_path / "none", "")).status is Status.OK
    # Not even root can read a folder as a file.
    unreadable = only(keras_settings.check(tmp_path, ""))
    assert unreadable.status is Status.FAULT
    assert "cannot be read: Is a directory" in unreadable.text
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    assert keras_settings.path() == tmp_path / "keras.json"
