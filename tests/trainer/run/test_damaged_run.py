"""No flipped bit in a run folder changes silently what is loaded from it."""

import random
import shutil
import types

import pytest

from data_prep.core import durable
from data_prep.core.errors import CommandError
from tests import fakes
from tests.trainer import processes
from trainer import loop
from trainer.models import registry
from trainer.run import checkpoints
from trainer.run import run_folder

FLIPS = 300
SUFFIX = ".weights.h5"


@pytest.fixture(scope="module")
def run(dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("damaged") / "run"
    config = fakes.train_config(model="tiny", epochs=2, ema_momentum=0.9, top_k=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry.MODELS, "tiny", fakes.build_tiny)
        loop.train(config, fakes.execution(dataset / "32", folder, strategy="single"))
    return folder


def loaded(run):
    """Returns what inference reads from the folder."""
    run = run_folder.open_finished(run)
    weights = {
        name: run.verified_weights(name.removesuffix(SUFFIX)).read_bytes()
        for name in run.result["weights"]
    }
    return run.config, run.dataset, run.result, weights


def resumed(run, variables):
    """Returns what a resume reads from the folder."""
    checkpoint = checkpoints.restore_newest(run / "checkpoints", variables)
    arrays = [a.tobytes() for a in (*checkpoint.variables, *checkpoint.extra)]
    return arrays, checkpoint.progress


def or_failure(load, *args):
    try:
        return load(*args)
    except CommandError:
        return CommandError


@pytest.mark.slow
def test_flipped_bits(run, tmp_path):
    *_, older, newest = sorted((run / "checkpoints").glob("epoch-*"))
    commit = durable.read_json(newest / "commit.json", fix="")
    variables = [
        types.SimpleNamespace(path=name, name=name) for name in commit["variables"]
    ]
    whole, latest = loaded(run), resumed(run, variables)
    shutil.copytree(older, tmp_path / "checkpoints" / older.name)
    before = resumed(tmp_path, variables)
    assert before != latest
    files = sorted(p for p in run.rglob("*") if p.is_file() and p.stat().st_size)
    draw = random.Random(0)
    seen = set()
    for _ in range(FLIPS):
        path = draw.choice(files)
        original = path.read_bytes()
        place, bit = draw.randrange(len(original)), draw.randrange(8)
        damaged = bytearray(original)
        damaged[place] ^= 1 << bit
        path.write_bytes(damaged)
        where = f"{path.relative_to(run)}, byte {place}, bit {bit}"
        result = or_failure(loaded, run)
        assert result in (whole, CommandError), where
        if path.name.endswith(SUFFIX) or path.name == run_folder.CONFIG:
            assert result is CommandError, where
        continued = or_failure(resumed, run, variables)
        in_newest = newest in path.parents
        # A flipped bit in the white space of JSON changes nothing.
        assert continued == latest or (in_newest and continued == before), where
        seen.add((result is CommandError, continued == before))
        path.write_bytes(original)
    assert loaded(run) == whole
    assert seen == {(True, False), (False, False), (False, True)}


@pytest.mark.slow
def test_a_resume_falls_back_to_the_checkpoint_before(dataset, run, tmp_path, caplog):
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    (copy / run_folder.RESULT).unlink()
    newest = sorted((copy / "checkpoints").glob("epoch-*"))[-1]
    arrays = bytearray((newest / "arrays.npz").read_bytes())
    arrays[len(arrays) // 2] ^= 1
    (newest / "arrays.npz").write_bytes(arrays)
    config = fakes.train_config(model="tiny", epochs=2, ema_momentum=0.9, top_k=2)
    loop.train(config, fakes.execution(dataset / "32", copy, strategy="single"))
    assert "skipping a checkpoint" in caplog.text
    assert loaded(run)[2]["scores"] == loaded(copy)[2]["scores"]
    processes.assert_same(run, copy, rtol=0, atol=0)
