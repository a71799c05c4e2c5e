"""Conversions on a cluster give the bytes of one machine, whatever is killed."""

import importlib.util
import os
import signal

import pydicom
import pytest

from tests import cluster_conversions
from tests import cluster_nodes

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("ray") is None, reason="Ray is not installed"
    ),
]


@pytest.fixture(scope="module")
def conversion(tmp_path_factory):
    return cluster_conversions.Conversion(tmp_path_factory.mktemp("conversion"))


@pytest.fixture(scope="module")
def cluster(conversion):
    """A head and two nodes of one core."""
    with (
        cluster_nodes.loopback_only(),
        cluster_conversions.make_cluster(conversion) as cluster,
    ):
        for _ in range(2):
            cluster.add()
        yield cluster


@pytest.fixture(scope="module")
def local(conversion):
    """What one machine makes."""
    output = conversion.folder / "local"
    conversion.finish(conversion.start(output))
    found = cluster_conversions.files(output)
    assert len([name for name in found if ".tfrecord" in name]) > 20
    assert "DCM_DECODER_CRASH" in (output / "quarantine.csv").read_text()
    return found


def flags(cluster):
    return f"--cluster={cluster.address}", "--allow_open_cluster"


def test_the_bytes_are_those_of_one_machine(conversion, cluster, local):
    output = conversion.folder / "cluster"
    log = conversion.finish(conversion.start(output, *flags(cluster)))
    # quarantine.csv, which names the film that kills its decoder, is among them.
    assert cluster_conversions.files(output) == local
    assert "Lost on the cluster" not in log


def test_no_patient_is_in_the_logs_of_the_engine(conversion, cluster, local):
    output = conversion.folder / "logs"
    conversion.finish(conversion.start(output, *flags(cluster)))
    patients = {
        str(pydicom.dcmread(path, stop_before_pixels=True).PatientID).encode()
        for path in conversion.source.rglob("*.dcm")
    }
    assert len(patients) > 20
    logs = b"\n".join(cluster.logs())
    assert b"raylet" in logs
    assert not [patient for patient in patients if patient in logs]


def test_a_killed_process_and_a_killed_node(conversion, cluster, local):
    output = conversion.folder / "killed"
    conversion.slow_down(True)
    command = conversion.start(output, *flags(cluster))
    writer = cluster_conversions.wait_for_writer(output, command)
    os.kill(writer, signal.SIGKILL)
    node = cluster.nodes[0]
    cluster_conversions.wait_for_writer(output, command, set(node.pids()))
    cluster.kill(node)
    conversion.slow_down(False)
    log = conversion.finish(command)
    assert cluster_conversions.files(output) == local
    assert "Lost on the cluster" in log
    cluster.add()


def test_a_killed_driver(conversion, cluster, local):
    output = conversion.folder / "driver"
    conversion.slow_down(True)
    command = conversion.start(output, *flags(cluster))
    cluster_conversions.wait_for_writer(output, command)
    cluster_conversions.kill_driver(command)
    # What it has started ends with it.
    cluster_nodes.wait_until(lambda: not cluster_conversions.writers(output))
    conversion.slow_down(False)
    conversion.finish(conversion.start(output, *flags(cluster)))
    assert cluster_conversions.files(output) == local
