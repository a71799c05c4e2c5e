"""The lines on TensorFlow, Keras and what the devices computed."""

from trainer.machine import packages
from trainer.machine.finding import Finding
from trainer.machine.finding import fault
from trainer.machine.finding import ok
from trainer.machine.tensorflow_process import Probe

_SETTINGS = "mend the Keras settings above first"
_AGAIN = "pip install --force-reinstall -r requirements.txt -c constraints.txt"


def check_imports(probe: Probe, *, settings_bad: bool = False) -> list[Finding]:
    """Returns whether TensorFlow and Keras load, and which they are.

    Args:
      probe: of both.
      settings_bad: whether keras.json is known to stop them: TensorFlow imports Keras.
    """
    if not probe.version:
        mend = _SETTINGS if settings_bad else import_fix(probe.death)
        return [fault("TensorFlow", f"does not load: {probe.death}", mend)]
    tested, *_ = packages.tensorflow_version(probe.version)
    cuda = probe.build.get("cuda_version")
    built = f"built for CUDA {cuda}" if cuda else "built without CUDA"
    findings = [tested, ok("TensorFlow build", built)]
    if probe.keras_fault:
        text = f"does not load: {probe.keras_fault[:300]}"
        mend = _SETTINGS if settings_bad else import_fix(probe.keras_fault)
        findings.append(fault("Keras", text, mend))
    elif probe.keras:
        findings.append(ok("Keras", probe.keras))
    return findings


def import_fix(death: str) -> str:
    """Returns what mends an import that ended so."""
    if "SIGILL" in death:
        return "use a machine whose processor has AVX, which TensorFlow needs"
    if "GLIBC" in death:
        return "use a newer Linux: the libraries of this one are too old"
    if "No module named" in death or "not installed" in death:
        return packages.INSTALL
    return _AGAIN


def check_trials(probe: Probe) -> list[Finding]:
    """Returns a line for each device: what it computed in each precision, how fast."""
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
        device, what = probe.unfinished["device"], probe.unfinished["what"]
        text = f"a convolution in {what} ended the process: {probe.death}"
        findings.append(fault(device, text, _mend(device)))
    elif probe.version and probe.death:
        findings.append(fault("computing", f"it ended early: {probe.death}", _AGAIN))
    return findings


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
    return fault(device, text, _mend(device))


def _mend(device: str) -> str:
    if device.startswith("GPU"):
        return (
            "end what else runs on it (nvidia-smi), update the driver, or go without "
            "it: export CUDA_VISIBLE_DEVICES="
        )
    return f"try export TF_ENABLE_ONEDNN_OPTS=0; else {_AGAIN}"


def _rate(gflops: float) -> str:
    if gflops >= 1000:
        return f"{gflops / 1000:.1f} TFLOP/s"
    return f"{gflops:.0f} GFLOP/s" if gflops >= 10 else f"{gflops:.1f} GFLOP/s"
