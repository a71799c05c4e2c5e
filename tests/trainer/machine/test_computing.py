"""The lines on imports and convolutions, from made-up facts."""

import dataclasses
import json

from tests.trainer.machine.made_up import BUILD
from tests.trainer.machine.made_up import OPENED
from tests.trainer.machine.made_up import one
from tests.trainer.machine.made_up import only
from tests.trainer.machine.made_up import statuses
from trainer.machine import computing
from trainer.machine import gpu_causes
from trainer.machine import tensorflow_process
from trainer.machine.finding import Status
from trainer.machine.finding import ok
from trainer.machine.tensorflow_process import Probe

RIGHT = {
    "device": "CPU:0",
    "what": "float32",
    "gflops": 50.0,
    "difference": 1e-6,
    "tolerance": 5e-3,
}


def test_imports_that_fail_name_their_fix():
    def fix(death):
        return only(computing.check_imports(Probe(death=death))).fix

    assert "AVX" in fix("killed by SIGILL: it said nothing")
    assert "newer Linux" in fix("ImportError: version `GLIBC_2.34' not found")
    assert fix("ModuleNotFoundError: No module named 'tensorflow'").startswith("pip i")
    assert "--force-reinstall" in fix("ImportError: undefined symbol: _ZN")
    bad = computing.check_imports(Probe(death="AssertionError"), settings_bad=True)
    assert "Keras settings" in only(bad).fix


def test_imports_that_work_are_listed_and_old_ones_marked():
    found = computing.check_imports(dataclasses.replace(OPENED, keras="3.15.1"))
    assert [f.text for f in found] == ["2.21.0", "built for CUDA 12.5.1", "3.15.1"]
    found = computing.check_imports(Probe(version="2.15.1", keras_fault="no jax"))
    assert statuses(found) == [
        ("TensorFlow", "warning"),
        ("TensorFlow build", "ok"),
        ("Keras", "fault"),
    ]


def test_a_wrong_kernel_is_red():
    wrong = RIGHT | {"what": "bfloat16", "difference": 0.9, "tolerance": 0.03}
    none = RIGHT | {"what": "float16", "error": "no algorithm worked"}
    trials = (RIGHT, wrong, {k: v for k, v in none.items() if k != "gflops"})
    found = computing.check_trials(Probe(version="2.21.0", trials=trials))
    assert found[0] == ok("CPU:0", "float32 50 GFLOP/s")
    assert "in bfloat16 is wrong: 0.9 off" in found[1].text
    assert "no convolution in float16: no algorithm worked" in found[2].text
    assert statuses(found[1:]) == [("CPU:0", "fault")] * 2


def test_a_process_that_dies_in_a_convolution_is_red():
    mark = tensorflow_process.MARK
    facts = [
        ["tensorflow", {"version": "2.21.0", "build": BUILD}],
        ["begin", {"device": "GPU:0", "what": "float32"}],
        ["trial", RIGHT | {"device": "GPU:0", "gflops": 31000.0}],
        ["begin", {"device": "GPU:0", "what": "float16"}],
    ]
    output = "\n".join(mark + json.dumps(fact) for fact in facts)
    log = "F0000 00:00:1 9 cuda_dnn.cc:1] Check failed: broken cuDNN\n"
    probe = tensorflow_process.read(-6, output, log)
    rate, death = computing.check_trials(probe)
    assert rate.text == "float32 31.0 TFLOP/s"
    assert death.status is Status.FAULT
    assert "float16 ended the process: killed by SIGABRT" in death.text
    assert "broken cuDNN" in death.text
    assert "nvidia-smi" in death.fix


def test_xla_that_does_not_work_on_a_gpu_costs_the_jit_alone():
    bad = {"device": "GPU:0", "what": "XLA float32", "error": "no libdevice"}
    found = only(computing.check_trials(Probe(version="2.21.0", trials=(bad,))))
    assert found.status is Status.WARNING
    assert "--jit does not work here" in found.text
    assert "no libdevice" in found.text
    begun = {"device": "GPU:0", "what": "XLA float32"}
    died = Probe(version="2.21.0", unfinished=begun, death="killed by SIGABRT")
    assert only(computing.check_trials(died)).status is Status.WARNING
    # On a CPU every training compiles a part (trainer/models/fused/swish.py).
    found = only(computing.check_trials(Probe(trials=(bad | {"device": "CPU:0"},))))
    assert found.status is Status.FAULT


def test_a_gpu_that_still_compiles_is_no_broken_one():
    late = Probe(
        version="2.21.0",
        build=BUILD,
        unfinished={"device": "GPU:0", "what": "float32"},
        death="it did not end within 240 s",
        late=True,
    )
    new, known = one(capability=(12, 0)), one()
    assert gpu_causes.compiles(new, late)
    assert not gpu_causes.compiles(known, late)
    assert not gpu_causes.compiles(None, late)
    assert not gpu_causes.compiles(new, Probe(death="killed"))
    found = only(computing.check_trials(late, compiles=True))
    assert (found.name, found.status) == ("GPU:0", Status.WARNING)
    assert "still being compiled" in found.text
    found = only(computing.check_trials(late))
    assert found.status is Status.FAULT
    assert found.text.endswith("in float32: it did not end within 240 s")
