"""Nothing that is read is run: no pickle, no eval, no shell, no unpacking of archives.

The rules look at the source of all packages, so that a new file cannot forget them.
"""

import ast
import re

import pytest

from tests import test_layers

ROOT = test_layers.ROOT
# Each writes or starts what is its own, as the reason beside it says.
ALLOWED = {
    # It counts cores.
    ("data_prep/core/cores.py", "joblib"),
    # Values for another process of ours go through a pipe that it has inherited.
    ("data_prep/core/worker_process.py", "pickle"),
    # A probe is sent to the cluster, which runs what its driver sends in any case.
    ("data_prep/executors/ray_check.py", "cloudpickle"),
    # Of two names that stand there.
    ("inference/artefact/onnx_file.py", "import_module"),
    # Of a list of our own dependencies.
    ("data_prep/executors/ray_probe.py", "import_module"),
}
MODULES = frozenset(
    ("cloudpickle", "code", "dill", "joblib", "marshal", "pickle", "shelve", "tarfile")
    + ("xmlrpc", "yaml", "_pickle")
)
# Of any object: what is called by these names has no other meaning here.
CALLS = frozenset(
    ("eval", "exec", "compile", "__import__", "import_module", "input")
    + ("system", "popen", "getoutput", "getstatusoutput", "mktemp")
    + ("Unpickler", "read_pickle", "from_pickle", "extractall", "unpack_archive")
    + ("load_model", "model_from_json", "model_from_config", "from_config")
    + ("deserialize", "deserialize_keras_object", "enable_unsafe_deserialization")
    + ("Markup",)
)
# re.compile and model.compile are harmless.
_BUILTIN_ALONE = frozenset(("compile", "eval", "exec", "input"))
_SPAWNING = re.compile(r"(exec|spawn)[lv]p?e?")


def faults(text: str) -> set[str]:
    """Returns names of what a source has that could run data."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {a.name.split(".")[0] for a in node.names} & MODULES
        elif isinstance(node, ast.ImportFrom):
            names = {*(node.module or "").split("."), *(a.name for a in node.names)}
            found |= names & (MODULES | CALLS - _BUILTIN_ALONE)
        elif isinstance(node, ast.Call):
            found |= set(_of_call(node))
    return found


def _of_call(node: ast.Call):
    function = node.func
    is_method = isinstance(function, ast.Attribute)
    name = function.attr if is_method else getattr(function, "id", "")
    of = ast.unparse(function.value) if is_method else ""
    values = {k.arg: getattr(k.value, "value", k.value) for k in node.keywords}
    if name in CALLS and not (is_method and name in _BUILTIN_ALONE):
        yield name
    if of == "os" and _SPAWNING.fullmatch(name):
        yield f"os.{name}"
    if of in ("pickle", "ForkingPickler", "marshal", "torch") and "load" in name:
        yield f"{of}.{name}"
    is_numpy = of in ("np", "numpy") and name == "load"
    if is_numpy and values.get("allow_pickle") is not False:
        yield "np.load"
    for option, only in (("shell", False), ("safe_mode", True), ("autoescape", True)):
        if values.get(option, only) is not only:
            yield f"{option}={values[option]}"
    if values.get("allow_pickle", False) is not False:
        yield "allow_pickle"


BAD = {
    "import pickle": {"pickle"},
    "import pickle as harmless": {"pickle"},
    "from pickle import loads": {"pickle"},
    "from ray import cloudpickle": {"cloudpickle"},
    "import yaml": {"yaml"},
    "import tarfile": {"tarfile"},
    "pickle.loads(data)": {"pickle.loads"},
    "ForkingPickler.loads(data)": {"ForkingPickler.loads"},
    "torch.load(path)": {"torch.load"},
    "eval(text)": {"eval"},
    "exec(text)": {"exec"},
    "compile(text, '', 'exec')": {"compile"},
    "__import__(name)": {"__import__"},
    "importlib.import_module(name)": {"import_module"},
    "os.system(command)": {"system"},
    "from os import system": {"system"},
    "os.execv(path, [])": {"os.execv"},
    "subprocess.run(command, shell=True)": {"shell=True"},
    "subprocess.run(command, shell=maybe)": None,
    "subprocess.getoutput(command)": {"getoutput"},
    "np.load(path)": {"np.load"},
    "numpy.load(path, allow_pickle=True)": {"np.load", "allow_pickle"},
    "np.load(path, allow_pickle=flag)": {"np.load", "allow_pickle"},
    "keras.models.load_model(path)": {"load_model"},
    "from keras.models import load_model": {"load_model"},
    "keras.saving.load_model(path, safe_mode=False)": {"load_model", "safe_mode=False"},
    "keras.Model.from_config(json)": {"from_config"},
    "archive.extractall(path)": {"extractall"},
    "shutil.unpack_archive(path)": {"unpack_archive"},
    "tempfile.mktemp()": {"mktemp"},
    "jinja2.Environment(autoescape=False)": {"autoescape=False"},
    "markupsafe.Markup(text)": {"Markup"},
}
GOOD = [
    "re.compile(pattern)",
    "model.compile()",
    "np.load(path, allow_pickle=False)",
    "subprocess.run([program], shell=False)",
    "jinja2.Environment(autoescape=True)",
    "model.load_weights(path)",
    "session.eval()",
]


@pytest.mark.parametrize("text", BAD)
def test_each_rule_sees_what_it_is_for(text):
    found = faults(text)
    assert found == BAD[text] if BAD[text] else found


@pytest.mark.parametrize("text", GOOD)
def test_what_is_harmless_passes(text):
    assert faults(text) == set()


def test_no_file_runs_data():
    assert len(test_layers.FILES) > 300
    found = {
        (str(path.relative_to(ROOT)), fault)
        for path in test_layers.FILES
        for fault in faults(path.read_text())
    }
    assert found - ALLOWED == set()
    assert ALLOWED - found == set(), "an exception that nothing needs is to go"


def test_templates_escape_what_they_show():
    """A filter or block of Jinja that lets HTML through is in no template."""
    templates = [p for n in test_layers.PACKAGES for p in (ROOT / n).rglob("*.j2")]
    assert len(templates) > 5
    through = re.compile(r"\|\s*(safe|forceescape)\b|autoescape|markup", re.I)
    for path in templates:
        # A script of ours, which a page's policy knows by its hash.
        text = path.read_text().replace("<script>{{ viewer | safe }}</script>", "")
        assert not through.search(text), path
