import importlib.util
import os
import pathlib
import subprocess
import sys

import pytest

from data_prep.config import Placement
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.executors import choose
from tests import cluster_nodes

ROOT = pathlib.Path(__file__).parents[3]
with_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed"
)
HOST = "192.0.2.77"
TOKEN = "0123456789abcdef" * 4
WITH_TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}


@pytest.fixture(scope="module")
def network():
    """A network of this process's own, with an address besides loopback."""
    with cluster_nodes.loopback_only() as is_own:
        if not is_own:
            pytest.skip("a network namespace needs root")
        subprocess.run(f"ip addr add {HOST}/24 dev lo".split(), check=True)
        yield


@pytest.fixture(scope="module")
def closed(network):
    with cluster_nodes.Cluster(WITH_TOKEN, host=HOST) as cluster:
        cluster.add()
        yield cluster


@pytest.fixture
def no_token(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    yield
    monkeypatch.undo()
    # Set by what is tested. `monkeypatch` would set it again at its own end.
    os.environ.pop("RAY_AUTH_MODE", None)
    _read_environment()


def _error(address, shared=(), **options) -> CommandError:
    placement = Placement(cluster=address, **options)
    with (
        pytest.raises(CommandError) as caught,
        choose.executor(placement, shared=shared),
    ):
        pass
    return caught.value


def _read_environment():
    from data_prep.executors import ray_channel

    # Ray has read the variables when it was imported.
    ray_channel.Config.initialize("")


def test_a_missing_package_is_named():
    code = (
        "import sys; sys.modules['ray'] = None\n"
        "from data_prep.config import Placement\n"
        "from data_prep.executors import choose\n"
        "choose.executor(Placement(cluster='auto'), shared=[])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    line = done.stderr.splitlines()[-1]
    assert "CommandError: --cluster needs the package ray" in line
    assert "; pip install " in line


@with_ray
@pytest.mark.parametrize(
    "address", ["host", "ray://host:10001", "http://host:8265", "host:port", ":6379"]
)
def test_other_addresses_are_refused(address):
    error = _error(address)
    assert error.exit_code == ExitCode.FLAGS
    assert f"host:port of a Ray head, or auto, and not {address!r}" in str(error)


@with_ray
def test_nobody_at_the_address_is_told_at_once():
    error = _error("127.0.0.1:9")
    assert error.exit_code == ExitCode.ENVIRONMENT
    assert "no Ray cluster answers at 127.0.0.1:9 (UNAVAILABLE" in str(error)


@with_ray
def test_auto_takes_the_variable(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    assert "no Ray cluster answers at 127.0.0.1:9" in str(_error("auto"))


@pytest.mark.slow
@with_ray
def test_auto_without_a_cluster_is_told(network, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    services = "ray._private.services"
    monkeypatch.setattr(f"{services}.find_gcs_addresses", lambda: [])
    monkeypatch.setattr(f"{services}.get_ray_address_from_environment", lambda *_: None)
    assert "found no Ray cluster on this machine" in str(_error("auto"))


# Ray keeps a token for the whole process, and then cannot use a cluster that has none.
_JOIN = """
import pathlib, sys
import ray
from data_prep.config import Placement
from data_prep.core.errors import CommandError
from data_prep.executors import choose

def join():
    placement = Placement(cluster=sys.argv[1])
    try:
        with choose.executor(placement, shared=[pathlib.Path.home()]) as executor:
            print(executor.note())
    except CommandError as e:
        print(e)

"""


def _own_process(address, home, code="join()", **environment) -> str:
    """Returns what a process of its own prints that joins a cluster."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    done = subprocess.run(
        [sys.executable, "-c", _JOIN + code, address],
        cwd=ROOT,
        env=kept | {"HOME": str(home)} | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@with_ray
def test_a_cluster_asks_for_its_token(closed, tmp_path):
    told = _own_process(closed.address, tmp_path)
    assert "asks for a token, and this machine has none" in told
    told = _own_process(closed.address, tmp_path, RAY_AUTH_TOKEN="another" * 9)
    assert "asks for another token than this" in told
    path = tmp_path / ".ray/auth_token"
    path.parent.mkdir()
    path.write_text(TOKEN + "\n")
    # It is not open, so nothing has to be allowed.
    assert _own_process(closed.address, tmp_path) == "1 node\n"


@pytest.mark.slow
@with_ray
def test_other_versions_are_told(closed, tmp_path):
    code = """
import ray._private.utils as utils
found = utils.compute_version_info
utils.compute_version_info = lambda: ("2.60.0", "3.9.1")
join()
utils.compute_version_info = found
ray.__version__ = "2.47.0"
join()
"""
    told = _own_process(closed.address, tmp_path, code, **WITH_TOKEN)
    python, version = told.splitlines()
    assert "has Python 3." in python
    assert "and this machine 3.9.1" in python
    assert "has Ray 2.60.0, and this machine 2.47.0" in version


@pytest.mark.slow
@with_ray
def test_an_open_cluster_that_others_reach_is_refused(network, caplog, no_token):
    with cluster_nodes.Cluster(host=HOST) as cluster:
        error = _error(cluster.address)
        assert f"asks for no token, and other machines reach it at {HOST}" in str(error)
        assert "--allow_open_cluster" in str(error)
        # It goes on to its nodes, of which it has none that works.
        text = str(_error(cluster.address, allow_open_cluster=True))
        assert "no node of the cluster has them" in text
        assert "(--allow_open_cluster)." in caplog.text


@pytest.mark.slow
@with_ray
def test_an_open_cluster_on_loopback_is_used(network, no_token, tmp_path):
    with cluster_nodes.Cluster() as cluster:
        text = str(_error(cluster.address, shared=[tmp_path]))
        assert "no node of the cluster has them" in text
