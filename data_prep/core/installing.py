"""Commands that install missing packages, fitted to the user's environment.

In a checkout, the requirements files name the versions that the tests run with. An
installed package has no such files, and they would replace a TensorFlow of another
version: in both cases each package is named by itself.
"""

import importlib.metadata
import pathlib
import shlex

# The minor version of the TensorFlow that the requirements files pin.
PINNED_TENSORFLOW = "2.21."
# Distributions that contain TensorFlow.
TENSORFLOWS = ("tensorflow", "tensorflow-cpu", "tf-nightly", "tensorflow-rocm")
_ROOT = pathlib.Path(__file__).parents[2]
_AGAIN = "--force-reinstall "


def version(distribution: str) -> str:
    """Returns the installed version of a distribution, "" where there is none."""
    try:
        return importlib.metadata.version(distribution) or ""
    except importlib.metadata.PackageNotFoundError:
        return ""


def tensorflow() -> str:
    """Returns the version of the installed TensorFlow, "" where there is none."""
    return next(filter(None, map(version, TENSORFLOWS)), "")


def _name() -> str:
    return next(filter(version, TENSORFLOWS), "tensorflow")


def everything(*, again: bool = False) -> str:
    """Returns the command that installs everything the project needs.

    Args:
      again: whether to reinstall what is installed already.
    """
    if _may_use("requirements.txt", tensorflow()):
        return f"pip install {_AGAIN * again}{_files('requirements.txt')}"
    if again and (installed := tensorflow()):
        return f"pip install {_AGAIN}--no-deps {_name()}=={installed}"
    return "install the project again as you did first; `pip check` names what it lacks"


def gpu(built: str = "", *, again: bool = False) -> str:
    """Returns the command that installs NVIDIA's libraries for the TensorFlow here.

    Args:
      built: the version of TensorFlow; empty takes the installed one.
      again: as in `everything`.
    """
    built = built or tensorflow()
    if _may_use("requirements-gpu.txt", built):
        return f"pip install {_AGAIN * again}{_files('requirements-gpu.txt')}"
    wanted = built or f"{PINNED_TENSORFLOW}*"
    return f"pip install {_AGAIN * again}'tensorflow[and-cuda]=={wanted}'"


def ray() -> str:
    """Returns the command that installs the engine of --cluster."""
    if _may_use("requirements-ray.txt", tensorflow()):
        return f"pip install {_files('requirements-ray.txt')}"
    return package("ray", "==2.60.0")


def dicom_seg() -> str:
    """Returns the command that installs the writer of DICOM segmentations."""
    if _may_use("requirements-dicom-seg.txt", tensorflow()):
        return f"pip install {_files('requirements-dicom-seg.txt')}"
    return package("highdicom", "==0.28.2")


def onnx() -> str:
    """Returns the command that installs what exports to ONNX and runs it."""
    if _may_use("requirements-onnx.txt", tensorflow()):
        return f"pip install {_files('requirements-onnx.txt')}"
    return "pip install tf2onnx onnxruntime"


def package(name: str, versions: str = "") -> str:
    """Returns the command that installs one package and its dependencies.

    Args:
      name: the distribution.
      versions: the accepted versions, such as ">=3.8,<3.16".
    """
    return f"pip install {shlex.quote(name + versions)}"


def missing(name: str, versions: str = "") -> str:
    """Returns the command that installs a package that the project needs."""
    return (
        everything()
        if _may_use("requirements.txt", tensorflow())
        else package(name, versions)
    )


def tensorflow_io() -> str:
    """Returns the text that says how to make an environment for tensorflow-io."""
    where = "in an environment of its own with Python 3.11 or 3.12: pip install"
    file = "requirements-tensorflow-io.txt"
    if (_ROOT / file).exists():
        return f"{where} {_files(file, 'constraints-tensorflow-io.txt')}"
    pins = "tensorflow==2.16.2 tensorflow-io==0.37.1 'numpy<2'"
    return f"{where} {pins}, then this project"


def _may_use(file: str, installed: str) -> bool:
    """Returns whether a requirements file exists and keeps the installed TensorFlow."""
    pinned = not installed or installed.startswith(PINNED_TENSORFLOW)
    # Without constraints.txt, the file is one that another package has installed.
    checkout = (_ROOT / "constraints.txt").exists()
    return pinned and checkout and (_ROOT / file).exists()


def _files(requirements: str, constraints: str = "constraints.txt") -> str:
    # Relative paths are valid only in the checkout's folder.
    is_root = pathlib.Path.cwd() == _ROOT
    names = [
        name if is_root else str(_ROOT / name) for name in (requirements, constraints)
    ]
    return shlex.join(["-r", names[0], "-c", names[1]])
