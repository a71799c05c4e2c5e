import functools
import importlib.util
import logging
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading

import pytest

from data_prep.config import Placement
from data_prep.core import installing
from data_prep.core.errors import CommandError
from data_prep.core.errors import ConfigError
from data_prep.core.errors import ExitCode
from data_prep.core.errors import InputError
from data_prep.core.worker_process import WorkerError
from data_prep.executors import choose
from data_prep.executors import code_hash
from data_prep.executors.executor import Resources
from tests import cluster_nodes
from tests.data_prep.executors import ray_units

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("ray") is None, reason="Ray is not installed"
    ),
]

ROOT = pathlib.Path(__file__).parents[3]
GPU = Resources(num_cpus=1, num_gpus=1)


@pytest.fixture(scope="module")
def cluster():
    """A node with one core, and one with two and two made-up GPUs."""
    with cluster_nodes.loopback_only(), cluster_nodes.Cluster() as cluster:
        cluster.add(num_cpus=1)
        cluster.add(num_cpus=2, num_gpus=2)
        yield cluster


@pytest.fixture(scope="module")
def executor(cluster, tmp_path_factory):
    shared = [tmp_path_factory.mktemp("shared")]
    with choose.executor(_placement(cluster), shared=shared) as executor:
        yield executor
    assert not list(shared[0].iterdir())


def _placement(cluster):
    # Where no namespace can be made, the nodes have this machine's address.
    return Placement(cluster=cluster.address, allow_open_cluster=True)


def _equal(unit):
    return 1.0


def _run(executor, function, units, **options):
    return dict(executor.run(function, units, cost_of=_equal, **options))


def test_the_costliest_unit_is_the_first_and_none_sees_a_gpu(executor):
    # One unit at a time, since only one node has two cores. While Ray starts a process
    # on a busy machine it may swap two that wait; it does so seldom.
    for _ in range(3):
        found = list(
            executor.run(
                ray_units.devices,
                ["a", "bbbb", "ccc", "dd"],
                cost_of=len,
                resources=Resources(num_cpus=2),
            )
        )
        order = [unit for unit, _ in found]
        if order == ["bbbb", "ccc", "dd", "a"]:
            break
    assert order == ["bbbb", "ccc", "dd", "a"]
    assert {text.split()[0] for _, text in found} == {
        text.split()[0] for _, text in found
    }
    assert all(text.startswith(" ") for _, text in found)


def test_many_units_are_sent_in_turn(executor):
    units = list(range(300))
    assert sorted(_run(executor, ray_units.devices, units)) == units


def test_no_units_need_nothing(executor):
    assert not _run(executor, ray_units.devices, [])


@pytest.mark.parametrize(
    ("unit", "kind", "text"),
    [
        ("command", CommandError, "a file is bad; mend it"),
        ("config", ConfigError, "Expected a. Received: b"),
        ("input", InputError, "it is bad"),
        ("os", FileNotFoundError, "No such file or directory: '/a/file'"),
        ("bug", WorkerError, "ValueError in a worker process"),
    ],
)
def test_an_exception_comes_without_its_values(executor, cluster, unit, kind, text):
    with pytest.raises(kind) as caught:
        _run(executor, ray_units.raises, [unit])
    assert type(caught.value) is kind
    assert text in str(caught.value)
    chain = str(caught.value) + str(caught.value.__cause__)
    assert ray_units.CANARY not in chain
    if kind is WorkerError:
        assert "in raises" in chain
    canary = ray_units.CANARY.encode()
    assert not [True for log in cluster.logs() if canary in log]


def test_each_loaded_process_has_a_gpu_of_its_own(executor, tmp_path):
    assert executor.devices() == GPU
    texts = _loaded(executor, tmp_path, number=2, resources=GPU)
    # Which of both does how many units is chance; each has loaded once.
    assert len(list(tmp_path.iterdir())) == 2
    assert {text.split()[0] for text in texts} == {"0", "1"}


def test_without_gpus_each_node_loads_with_its_cores(executor, tmp_path):
    resources = executor.devices(gpus=False)
    assert resources == Resources(num_cpus=1)
    texts = _loaded(executor, tmp_path, number=3, resources=resources)
    assert len(list(tmp_path.iterdir())) == 3
    assert all(text.startswith(" ") for text in texts)


def _loaded(executor, folder, *, number, resources):
    load = functools.partial(ray_units.load_devices, folder, number)
    units = list(range(40))
    found = list(executor.run_loaded(load, units, cost_of=_equal, resources=resources))
    assert sorted(unit for unit, _ in found) == units
    return [text for _, text in found]


def test_a_fault_of_loading_ends_the_work(executor):
    with pytest.raises(CommandError, match="the weights are bad; mend them"):
        list(
            executor.run_loaded(
                ray_units.load_raises, [1], cost_of=_equal, resources=GPU
            )
        )


def test_what_no_node_has_is_refused(executor):
    for resources in (Resources(num_cpus=3), Resources(num_gpus=3)):
        with pytest.raises(CommandError, match="with at most 2 CPUs and 2 GPUs"):
            _run(executor, ray_units.devices, [1], resources=resources)


def test_a_unit_that_kills_its_process_is_given_up(executor, monkeypatch, caplog):
    for module in ("ray_losses", "ray_loaded"):
        monkeypatch.setattr(f"data_prep.executors.{module}.MOST_REPEATS", 1)
    with pytest.raises(CommandError, match="unit bad was given up: 2 times") as caught:
        _run(executor, ray_units.kills_itself, ["bad"])
    assert caught.value.exit_code == ExitCode.ENVIRONMENT
    assert "Lost on the cluster" in caplog.text
    with pytest.raises(CommandError, match="2 processes in a row were lost while"):
        list(
            executor.run_loaded(
                ray_units.load_kills_itself, [1], cost_of=_equal, resources=GPU
            )
        )


@pytest.mark.parametrize("way", ["run", "run_loaded"])
def test_a_killed_process_costs_one_repetition(executor, tmp_path, caplog, way):
    caplog.set_level(logging.WARNING)
    kill = _when_started(tmp_path, "b", lambda pid: os.kill(pid, signal.SIGKILL))
    assert _gated(executor, way, tmp_path, "abc") == {u: u for u in "abc"}
    kill.join()
    assert _attempts(tmp_path, "b") == 2
    assert _attempts(tmp_path, "a") == _attempts(tmp_path, "c") == 1
    assert caplog.text.count("Lost on the cluster: the process of 1 unit(s)") == 1


@pytest.mark.parametrize("way", ["run", "run_loaded"])
def test_a_killed_node_is_told_of_and_its_units_are_repeated(
    cluster, tmp_path, caplog, way
):
    caplog.set_level(logging.WARNING)
    node = cluster.add(num_cpus=1)
    folder = tmp_path / "shared"
    with choose.executor(_placement(cluster), shared=[folder]) as executor:
        assert executor.note() == "3 nodes"
        kill = _when_started_on(node, folder, lambda: cluster.kill(node))
        assert _gated(executor, way, folder, "abcd") == {u: u for u in "abcd"}
        kill.join()
        assert executor.note() == "2 nodes, 1 lost"
    assert sum(_attempts(folder, u) for u in "abcd") == 5
    assert caplog.text.count("Lost on the cluster: node") == 1


def test_a_node_that_hangs_and_comes_back_does_no_harm(cluster, tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    node = cluster.add(num_cpus=1)
    folder = tmp_path / "shared"
    try:
        with choose.executor(_placement(cluster), shared=[folder]) as executor:
            freeze = _when_started_on(node, folder, node.freeze)
            assert _gated(executor, "run", folder, "abcd") == {u: u for u in "abcd"}
            freeze.join()
            assert "2 nodes, 1 lost" in caplog.text
            node.thaw()
            # The zombie may finish its unit or be ended by its daemon.
            cluster_nodes.wait_until(lambda: len(node.pids()) == 1)
    finally:
        cluster.kill(node)
    for unit in "abcd":
        assert (folder / f"{unit}.done").read_text() == f"result of {unit}"
    assert not list(folder.glob(".incomplete*"))


@pytest.fixture
def interruptible():
    # Python leaves SIGINT as it finds it: ignored, where a shell started the tests with
    # `&`.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_work_that_is_given_up_ends_its_processes(executor, tmp_path, interruptible):
    for way in ("run", "run_loaded"):
        folder = tmp_path / way
        folder.mkdir()
        stop = threading.Thread(target=_interrupt_when_started, args=(folder,))
        stop.start()
        with pytest.raises(KeyboardInterrupt):
            _gated(executor, way, folder, "ab")
        stop.join()
        _all_end(folder)


def test_a_killed_driver_leaves_no_process(cluster, tmp_path):
    code = (
        "import sys, pathlib, functools\n"
        "from tests.data_prep.executors.test_ray_executor import drive\n"
        "drive(*sys.argv[1:])"
    )
    for number in (signal.SIGKILL, signal.SIGTERM):
        folder = tmp_path / number.name
        folder.mkdir()
        driver = subprocess.Popen(
            [sys.executable, "-c", code, cluster.address, str(folder)], cwd=ROOT
        )
        try:
            cluster_nodes.wait_until(lambda f=folder: list(f.glob("*.started")))
            driver.send_signal(number)
            driver.wait(timeout=30)
            _all_end(folder)
        finally:
            driver.kill()


def drive(address: str, folder: str) -> None:
    """Does units that wait for their gate; the test above ends it."""
    placement = Placement(cluster=address, allow_open_cluster=True)
    path = pathlib.Path(folder)
    with choose.executor(placement, shared=[path]) as executor:
        _gated(executor, "run", path, "ab")


@pytest.mark.skipif(os.geteuid() != 0, reason="a mount namespace needs root")
def test_a_folder_that_a_node_does_not_share_is_named(cluster, tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source/film.dcm").write_text("film")
    (tmp_path / "output").mkdir()
    shared = [tmp_path / "output", tmp_path / "source"]
    for hidden in shared:
        node = cluster.add(hidden=hidden)
        try:
            with (
                pytest.raises(CommandError, match=f"does not see {hidden} as this"),
                choose.executor(_placement(cluster), shared=shared),
            ):
                pass
        finally:
            cluster.kill(node)
        assert not list((tmp_path / "output").iterdir())
    with choose.executor(_placement(cluster), shared=shared) as executor:
        assert _run(executor, ray_units.devices, [1]).keys() == {1}


def test_warnings_of_units_come_with_their_node(executor, caplog):
    _run(executor, ray_units.warns, [7])
    assert caplog.text.count(f"{socket.gethostname()}: unit 7 is odd") == 1
    assert ray_units.CANARY not in caplog.text
    caplog.clear()
    _run(executor, ray_units.warns, list(range(40)))
    assert caplog.text.count("is odd") == 20
    assert caplog.text.count("More warnings of nodes") == 1


def test_a_node_that_is_lost_idle_is_told_of(cluster, tmp_path, caplog):
    node = cluster.add(num_cpus=1)
    with choose.executor(_placement(cluster), shared=[tmp_path]) as executor:
        _run(executor, ray_units.devices, [1])
        cluster.kill(node)
        cluster_nodes.wait_until(lambda: _num_alive() == 3)
        _run(executor, ray_units.devices, [1])
    assert caplog.text.count("with no unit of this work; 2 nodes, 1 lost") == 1


@pytest.mark.parametrize(
    ("modules", "patch", "text"),
    [
        (
            (),
            ("_own_python", lambda: "3.9"),
            "has Python 3.1[0-9], and this machine 3.9",
        ),
        (
            (),
            ("_own_versions", lambda: {"numpy": "1.0"}),
            r"has numpy [\d.]+, and this machine 1.0",
        ),
        (["data_prep.nothing"], None, "cannot import what the work needs: ModuleNotF"),
    ],
)
def test_other_versions_are_refused(
    cluster, tmp_path, monkeypatch, modules, patch, text
):
    from data_prep.executors import ray_check

    if patch:
        monkeypatch.setattr(ray_check, *patch)
    with (
        pytest.raises(CommandError, match=text),
        choose.executor(_placement(cluster), shared=[tmp_path], modules=modules),
    ):
        pass


@pytest.mark.parametrize("way", ["run", "run_loaded"])
def test_a_node_that_lacks_the_films_is_left_out(cluster, tmp_path, caplog, way):
    units = list(range(20))
    function = functools.partial(ray_units.needs_other_machine, tmp_path)
    with choose.executor(_placement(cluster), shared=[tmp_path]) as executor:
        if way == "run":
            found = _run(executor, function, units)
        else:
            load = functools.partial(ray_units.just, function)
            loaded = executor.run_loaded(
                load, units, cost_of=_equal, resources=Resources()
            )
            found = dict(loaded)
        assert found.keys() == set(units)
        assert executor.note() == "1 node, 1 lost"
    text = "which is left out: /films is no longer seen (it is empty); mount it"
    assert caplog.text.count(text) == 1


def test_a_node_that_is_lost_when_it_is_asked_is_left_out(
    cluster, tmp_path, monkeypatch, caplog
):
    gone = _name_one_that_is_gone(monkeypatch)
    with choose.executor(_placement(cluster), shared=[tmp_path]) as executor:
        assert executor.note() == "2 nodes, 1 lost"
        assert _run(executor, ray_units.devices, [1, 2, 3]).keys() == {1, 2, 3}
        assert executor.note() == "2 nodes, 1 lost"
    assert caplog.text.count(f"{gone.host} was lost when it was asked") == 1


def _name_one_that_is_gone(monkeypatch):
    """Has the head name a node for a first time that no longer is there."""
    from data_prep.executors import ray_nodes

    gone = ray_nodes.Node(id="ab" * 28, host="gone (192.0.2.9)", num_cpus=1, num_gpus=0)
    working, first = ray_nodes._working, iter([[gone]])
    monkeypatch.setattr(ray_nodes, "_working", lambda: working() + next(first, []))
    return gone


def test_other_code_is_refused(cluster, executor, tmp_path, monkeypatch):
    monkeypatch.setattr(code_hash, "of_this_machine", lambda: "other")
    # A node that joins later is found out by its first unit.
    with pytest.raises(CommandError, match="has other code of this project"):
        _run(executor, ray_units.devices, [1])
    monkeypatch.setattr(installing, "tensorflow", lambda: "1.0")
    with pytest.raises(CommandError, match="and this machine 1.0"):
        list(
            executor.run_loaded(
                ray_units.load_raises, [1], cost_of=_equal, resources=GPU
            )
        )


def _gated(executor, way, folder, units):
    """Runs units that wait for their gate."""
    if way == "run":
        function = functools.partial(ray_units.at_gate, folder)
        return dict(executor.run(function, units, cost_of=_equal))
    resources = Resources(num_cpus=1)
    load = ray_units.AtGate(folder)
    return dict(executor.run_loaded(load, units, cost_of=_equal, resources=resources))


def _started(folder, unit="*"):
    """Returns (process, its parent, its child) of each attempt."""
    texts = [path.read_text() for path in folder.glob(f"{unit}-*.started")]
    return [tuple(map(int, text.split())) for text in texts if text]


def _attempts(folder, unit):
    return len(_started(folder, unit))


def _in_thread(action, folder):
    def act():
        try:
            action()
        finally:
            (folder / "open").touch()

    thread = threading.Thread(target=act)
    thread.start()
    return thread


def _when_started(folder, unit, action):
    """Does something to the first attempt at a unit, then opens the gate."""

    def act():
        cluster_nodes.wait_until(lambda: _started(folder, unit))
        action(_started(folder, unit)[0][0])

    return _in_thread(act, folder)


def _when_started_on(node, folder, action):
    """Does something when a node works on a unit, then opens the gate."""

    def act():
        cluster_nodes.wait_until(
            lambda: {pid for pid, _, _ in _started(folder)} & set(node.pids())
        )
        action()
        # A machine is known to be lost later than its processes.
        cluster_nodes.wait_until(lambda: _num_alive() == 3)

    return _in_thread(act, folder)


def _num_alive():
    import ray

    return sum(node["Alive"] for node in ray.nodes())


def _interrupt_when_started(folder):
    cluster_nodes.wait_until(lambda: len(_started(folder)) >= 2)
    os.kill(os.getpid(), signal.SIGINT)


def _all_end(folder):
    for pids in _started(folder):
        for pid in (pids[0], pids[2]):
            cluster_nodes.wait_until(lambda p=pid: not cluster_nodes.is_running(p), 20)
