"""The doctor's lines on TensorFlow, Keras and the devices' convolutions."""

from data_prep.core import installing
from trainer.machine import packages
from trainer.machine.finding import Finding
from trainer.machine.finding import fault
from trainer.machine.finding import ok
from trainer.machine.finding import warning
from trainer.machine.tensorflow_process import Probe

# The name in convolution.py. On a GPU only --jit uses it.
_XLA = "XLA"
_NO_JIT = "--jit does not work here"
_FIX_JIT = "train without --jit, or see what `XLA tools` says"
_SETTINGS = "fix the Keras settings above first"


def check_imports(probe: Probe, *, settings_bad: bool = False) -> list[Finding]:
    """Returns whether TensorFlow and Keras load, and their versions.

    Args:
      probe: the result for both.
      settings_bad: whether keras.json is known to stop Keras, which TensorFlow imports.
    """
    if not probe.version:
        fix = _SETTINGS if settings_bad else import_fix(probe.death)
        return [fault("TensorFlow", f"does not load: {probe.death}", fix)]
    tested, *_ = packages.tensorflow_version(probe.version)
    cuda = probe.build.get("cuda_version")
    built = f"built for CUDA {cuda}" if cuda else "built without CUDA"
    findings = [tested, ok("TensorFlow build", built)]
    if probe.keras_fault:
        text = f"does not load: {probe.keras_fault[:300]}"
        fix = _SETTINGS if settings_bad else import_fix(probe.keras_fault)
        findings.append(fault("Keras", text, fix))
    elif probe.keras:
        findings.append(ok("Keras", probe.keras))
    return findings


def import_fix(death: str) -> str:
    """Returns the fix for an import that failed with this message."""
    if "SIGILL" in death:
        return "use a machine whose processor has AVX, which TensorFlow needs"
    if "GLIBC" in death:
        return "use a newer Linux: the libraries of this one are too old"
    if "No module named" in death or "not installed" in death:
        return installing.everything()
    return installing.everything(again=True)


def check_trials(probe: Probe, *, compiles: bool = False) -> list[Finding]:
    """Returns a line for each device: precisions that work, and their speed.

    Args:
      probe: the result of the convolutions.
      compiles: whether a GPU is newer than TensorFlow's kernels, so that its first
        use may take longer than the probe waits.
    """
    by_device = {}
    for trial in probe.trials:
        by_device.setdefault(trial["device"], []).append(trial)
    findings = []
    for device, trials in by_device.items():
        wrong = [_wrong(device, trial) for trial in trials if _is_wrong(trial)]
        rates = ", ".join(
            f"{t['what']} {_rate(t['gflops'])}" for t in trials if not _is_wrong(t)
        )
        findings += [ok(device, rates)] if rates else []
        findings += wrong
    if probe.unfinished:
        findings.append(_unfinished(probe, compiles))
    elif probe.version and probe.death:
        text = f"it ended early: {probe.death}"
        findings.append(fault("computing", text, installing.everything(again=True)))
    return findings


def _unfinished(probe: Probe, compiles: bool) -> Finding:
    device, what = probe.unfinished["device"], probe.unfinished["what"]
    if probe.late and compiles and device.startswith("GPU"):
        text = f"its kernels are still being compiled: {probe.death}"
        fix = "start a training, which waits for them, and run this again afterwards"
        return warning(device, text, fix)
    ended = "" if probe.late else " ended the process"
    text = f"a convolution in {what}{ended}: {probe.death}"
    if device.startswith("GPU") and what.startswith(_XLA):
        return warning(device, f"{_NO_JIT}: {text}", _FIX_JIT)
    return fault(device, text, _fix(device))


def _is_wrong(trial: dict) -> bool:
    return "error" in trial or trial["difference"] > trial["tolerance"]


def _wrong(device: str, trial: dict) -> Finding:
    if "error" in trial:
        text = f"no convolution in {trial['what']}: {trial['error']}"
    else:
        text = (
            f"a convolution in {trial['what']} is wrong: "
            f"{trial['difference']:.1g} off, {trial['tolerance']:.1g} is rounding"
        )
    if device.startswith("GPU") and trial["what"].startswith(_XLA):
        return warning(device, f"{_NO_JIT}: {text}", _FIX_JIT)
    return fault(device, text, _fix(device))


def _fix(device: str) -> str:
    if device.startswith("GPU"):
        return (
            "end what else runs on it (nvidia-smi), update the driver, or go without "
            "it: export CUDA_VISIBLE_DEVICES="
        )
    again = installing.everything(again=True)
    return f"try export TF_ENABLE_ONEDNN_OPTS=0; else {again}"


def _rate(gflops: float) -> str:
    if gflops >= 1000:
        return f"{gflops / 1000:.1f} TFLOP/s"
    return f"{gflops:.0f} GFLOP/s" if gflops >= 10 else f"{gflops:.1f} GFLOP/s"
