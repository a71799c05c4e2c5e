"""The line on the files that XLA needs on a GPU."""

from tests.trainer.machine.made_up import only
from trainer.machine import xla_tools
from trainer.machine.finding import Status


def test_xla_tools(tmp_path):
    toolkit = tmp_path / "cuda"
    empty = tmp_path / "none"
    for name in ("bin/ptxas", "nvvm/libdevice/libdevice.10.bc"):
        (toolkit / name).parent.mkdir(parents=True)
        (toolkit / name).write_text("")
    assert only(xla_tools.check({}, [empty, toolkit])).status is Status.OK
    found = only(xla_tools.check({}, [empty]))
    assert found.status is Status.WARNING
    assert "does not find ptxas, libdevice.10.bc" in found.text
    assert "requirements-gpu.txt" in found.fix
    found = only(xla_tools.check({"CUDA_HOME": str(toolkit)}, [empty]))
    assert found.fix == f"export XLA_FLAGS=--xla_gpu_cuda_data_dir={toolkit}"
    given = {"XLA_FLAGS": f"--x=1 --xla_gpu_cuda_data_dir={toolkit}"}
    assert only(xla_tools.check(given, [])).status is Status.OK
    given = {"XLA_FLAGS": f"--xla_gpu_cuda_data_dir={empty}"}
    assert "XLA_FLAGS names" in only(xla_tools.check(given, [toolkit])).text
