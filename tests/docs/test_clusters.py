"""The commands of docs/clusters.md and of its job files are ones that exist."""

import inspect
import pathlib
import re
import runpy
import shlex
import subprocess
import sys
import types

import pytest
from absl import flags
from absl.testing import flagsaver

from data_prep.core.errors import CommandError
from data_prep.core.errors import ConfigError
from flags import inference as inference_flags
from tests.docs import our_flags
from tests.docs import shell

ROOT = pathlib.Path(__file__).parents[2]
PAGE = ROOT / "docs" / "clusters.md"
JOBS = ROOT / "docs" / "jobs"
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
SLURM = sorted(JOBS.glob("*.sbatch"))
MANIFEST = JOBS / "kubernetes_rayjob.yaml"
LAUNCHER = JOBS / "aws_cluster.yaml"
# Of sbatch and srun, as in the manual pages of Slurm 24.05.
SLURM_OPTIONS = """
array cpus-per-task dependency exclusive gpus gpus-per-node job-name kill-on-bad-exit
mem nodes ntasks ntasks-per-node open-mode output parsable requeue signal time
"""


@pytest.fixture(autouse=True)
def parsed(monkeypatch):
    # A pattern such as /shared/runs/* has to match something.
    monkeypatch.setattr(inference_flags.glob, "glob", lambda pattern: [pattern])
    with flagsaver.flagsaver():
        if not flags.FLAGS.is_parsed():
            flags.FLAGS(["test"])
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Returns a function from bash's arguments to the calls that they make."""
    folder = tmp_path_factory.mktemp("shell")
    (folder / "docs").symlink_to(ROOT / "docs")

    def run(*arguments, task=0):
        return shell.calls(
            [str(a) for a in arguments], folder, shell.on_slurm(task=task)
        )

    return run


@pytest.fixture(scope="module")
def page(run):
    """Returns all calls that the page's commands make."""
    script = "set -euo pipefail\n"
    started = (run("-c", script + block) for block in BLOCKS)
    return [call for calls in started for call in unfolded(run, calls)]


def submitted(run, script, options, arguments):
    """Returns the calls of a Slurm script in every place that its options give it."""
    found = next((o for o in options if o.startswith("--array=")), "--array=0-0")
    first, _, last = found.removeprefix("--array=").partition("-")
    tasks = {int(first), int(last)}
    return [c for task in tasks for c in run(script, *arguments, task=task)]


def unfolded(run, calls):
    """Returns calls with those that their scripts and their quoted commands make."""
    for call in calls:
        yield call
        name, *rest = call
        if name == "bash":
            yield from unfolded(run, run(*rest))
        if name == "sbatch":
            options = rest[: next(i for i, a in enumerate(rest) if a[:2] != "--")]
            script, *arguments = rest[len(options) :]
            inner = submitted(run, script, options, arguments)
            yield from unfolded(run, inner)
        if name == "ray" and rest[0] == "exec":
            yield from unfolded(run, run("-ec", rest[-1]))


def ours(calls):
    return [call for call in calls if our_flags.is_ours(call)]


def documents():
    yaml = pytest.importorskip("yaml")
    return {p: yaml.safe_load(p.read_text()) for p in JOBS.glob("*.yaml")}


def notebook_call(monkeypatch, setup):
    """Returns what the notebook of Databricks starts, with a pretended Ray."""
    spark = types.ModuleType("ray.util.spark")
    spark.setup_ray_cluster = setup
    spark.shutdown_ray_cluster = lambda: None
    for name in ("ray", "ray.util"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, "ray.util.spark", spark)
    calls = []

    def start(call, check):
        calls.append(["python", *call[1:]])
        return types.SimpleNamespace(returncode=3)

    monkeypatch.setattr(subprocess, "run", start)
    runpy.run_path(str(JOBS / "databricks_notebook.py"))
    (call,) = calls
    return call


def test_the_page_has_our_commands_in_every_place(page):
    placements = [our_flags.check(call) for call in ours(page)]
    assert len(placements) >= 20
    assert {p.cluster for p in placements if p} >= {"auto", "10.0.0.1:6379", ""}
    assert any(p.plan_only for p in placements if p)
    # The last part of each array, which one more than N would miss.
    assert {p.part for p in placements if p and p.part} == {
        *[(0, 2), (1, 2)],
        *[(0, 64), (63, 64)],
        *[(0, 16), (15, 16)],
    }


@pytest.mark.parametrize(
    "arguments",
    [
        "data_prep.main --source=a --rle_csv=b --output=c --clusters=auto",
        "data_prep.main --source=a --rle_csv=b --part=0/2",
        "data_prep.main --source=a --output=c",
        "data_prep.main --source=a --rle_csv=b --output=c --part=2/2",
        "data_prep.main --source=a --rle_csv=b --output=c --tta=hflip",
        "data_prep.main --source=a --rle_csv=b --output=c auto",
        "trainer.main --preset=none --data=a --workdir=b",
        "inference.main --data=a --output=b --cluster=auto",
        "trainer.predict --data=a",
    ],
)
def test_a_wrong_command_is_found(arguments):
    call = ["python", "-m", *arguments.split()]
    assert our_flags.is_ours(call)
    with pytest.raises((AssertionError, CommandError, ConfigError, KeyError)):
        our_flags.check(call)


@pytest.mark.parametrize("path", SLURM, ids=lambda p: p.stem)
def test_scripts_are_well_formed(path):
    assert not shell.syntax_error(path)
    text = path.read_text()
    options = re.findall(r"^#SBATCH --([\w-]+)(?:=\S+)?$", text, re.MULTILINE)
    assert len(options) == text.count("\n#SBATCH")
    assert set(options) <= set(SLURM_OPTIONS.split())
    # Slurm reads none after the first command.
    assert text.rindex("#SBATCH") < text.index("\nset ")


def test_a_broken_script_is_found(tmp_path):
    broken = tmp_path / "broken.sbatch"
    broken.write_text('case ${1:-} in\nplan) echo "a ;;\nesac\n')
    assert shell.syntax_error(broken)


def test_options_of_slurm_exist(page):
    calls = [c for c in page if c[0] in ("sbatch", "srun")]
    assert len(calls) >= 10
    for _, *arguments in calls:
        for argument in arguments:
            if not argument.startswith("--"):
                break
            assert argument[2:].partition("=")[0] in SLURM_OPTIONS.split(), argument


def test_a_requeued_training_stops_after_five_times(run):
    script = (JOBS / "slurm_train.sbatch").read_text()
    assert not any(c[0] == "scontrol" for c in run("-c", script))
    # Lost another process, stopped, killed by a signal: the highest code of all tasks.
    for code in (6, 75, 137, 139):
        lost = training_that_ends(code)
        assert run("-c", lost)[-1][:2] == ["scontrol", "requeue"], code
        assert not run("-c", "SLURM_RESTART_COUNT=5\n" + lost), code


def training_that_ends(code):
    """Returns the script, with an srun that ends so."""
    script = (JOBS / "slurm_train.sbatch").read_text()
    ending = script.replace("\nset ", f"\nsrun() {{ return {code}; }}\nset ")
    # The test's shell ends well.
    return ending.replace("exit $code", "exit 0")


def test_a_training_that_ended_by_itself_is_not_requeued(run):
    for code in (1, 2, 5, 7, 8, 128):
        assert not run("-c", training_that_ends(code)), code


def test_the_array_job_accepts_quarantined_films_alone(run):
    script = (JOBS / "slurm_array_convert.sbatch").read_text()
    for code, accepted in ((0, True), (3, True), (4, False), (5, False)):
        failing = script.replace("accept()", f"python() {{ return {code}; }}\naccept()")
        try:
            run("-c", failing, "x", "plan")
        except AssertionError:
            assert not accepted, code
        else:
            assert accepted, code


def test_rays_commands_have_their_options(run, page):
    pytest.importorskip("ray")
    from tests.docs import ray_options

    calls = [c for c in page if c[0] == "ray"]
    launcher = documents()[LAUNCHER]
    lines = launcher["head_start_ray_commands"] + launcher["worker_start_ray_commands"]
    for line in lines:
        calls += run("-c", f"RAY_HEAD_IP=10.0.0.1\n{line}")
    for _, group in groups(documents()[MANIFEST]):
        given = [f"--{name}={value}" for name, value in group["rayStartParams"].items()]
        calls.append(["ray", "start", "--address=10.0.0.1:6379", *given])
    assert {c[1] for c in calls} >= {"start", "symmetric-run", "up", "exec", "down"}
    for _, *arguments in calls:
        ray_options.check(arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        "start --address=10.0.0.1:6379 --num_cpus=8",
        "start --head --port=many",
        "symmetric-run --address=a:1 --min-nodes=2 --disable-usage -- python x.py",
        "symmetric-run --address=a:1 --head -- python x.py",
        "symmetric-run --address=a:1 --include-dashboard=false -- python x.py",
        "start --num-cpus=8",
        "start --address=10.0.0.1:6379 --port=6379",
        "symmetric-run --address=a:1 python x.py",
        "symmetric-run --min-nodes=2 -- python x.py",
        "begin --head",
        "get-auth-token --new",
    ],
)
def test_a_wrong_option_of_ray_is_found(arguments):
    pytest.importorskip("ray")
    import click

    from tests.docs import ray_options

    with pytest.raises(click.ClickException):
        ray_options.check(arguments.split())


def groups(manifest):
    """Yields (name, group) of a RayJob's head and workers."""
    cluster = manifest["spec"]["rayClusterSpec"]
    yield "head", cluster["headGroupSpec"]
    for group in cluster["workerGroupSpecs"]:
        yield group["groupName"], group


def test_the_kubernetes_job_runs_our_command():
    manifest = documents()[MANIFEST]
    assert (manifest["apiVersion"], manifest["kind"]) == ("ray.io/v1", "RayJob")
    spec = manifest["spec"]
    assert our_flags.check(shlex.split(spec["entrypoint"])).cluster == "auto"
    assert spec["rayClusterSpec"]["authOptions"] == {"mode": "token"}
    assert f"ray=={spec['rayClusterSpec']['rayVersion']}" in pinned()
    for name, group in groups(manifest):
        (container,) = group["template"]["spec"]["containers"]
        assert container["volumeMounts"][0]["name"] in [
            volume["name"] for volume in group["template"]["spec"]["volumes"]
        ], name
        assert f"-t {container['image']} " in (JOBS / "Dockerfile").read_text()
        usage = {e["name"]: e["value"] for e in container["env"]}
        assert usage == {"RAY_USAGE_STATS_ENABLED": "0"}


def pinned():
    return (ROOT / "requirements-ray.txt").read_text()


def test_every_job_file_has_the_pinned_ray():
    version = re.search(r"ray==(\S+)", pinned())[1]
    pattern = r"(?:ray\[default\]==|rayproject/ray:)([\d.]+)"
    paths = [*JOBS.iterdir(), PAGE]
    named = {path.name: set(re.findall(pattern, path.read_text())) for path in paths}
    found = {name: versions for name, versions in named.items() if versions}
    assert len(found) == 4
    assert all(versions == {version} for versions in found.values()), found


def test_the_launchers_file_is_valid(tmp_path):
    pytest.importorskip("ray")
    jsonschema = pytest.importorskip("jsonschema")
    from tests.docs import ray_options

    ray_options.check_cluster_file(LAUNCHER)
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(LAUNCHER.read_text().replace("head_node_type:", "head_node:"))
    with pytest.raises((jsonschema.ValidationError, ValueError)):
        ray_options.check_cluster_file(wrong)


def test_places_install_files_that_exist_and_read_buckets():
    launcher = documents()[LAUNCHER]
    for lines in (
        "\n".join(launcher["setup_commands"]),
        (JOBS / "Dockerfile").read_text(),
    ):
        named = re.findall(r"(?:-r|-c) (\S+)", lines)
        assert "requirements-cloud.txt" in named
        for name in named:
            # The image is built in the repository, whose files it copies.
            assert (ROOT / name).exists(), name


def test_the_notebook_runs_our_command(monkeypatch):
    given = {}
    call = notebook_call(monkeypatch, lambda **kwargs: given.update(kwargs))
    assert our_flags.check(call).cluster == "auto"
    assert given["head_node_options"]["disable_usage_stats"] is None


def test_the_notebook_starts_ray_as_ray_can(monkeypatch):
    pytest.importorskip("ray")
    from ray.util import spark

    signature = inspect.signature(spark.setup_ray_cluster)
    accepted = set(signature.parameters) - {"kwargs"}
    given = {}
    notebook_call(monkeypatch, lambda **kwargs: given.update(kwargs))
    assert given.keys() <= accepted


def test_every_job_file_is_linked():
    text = PAGE.read_text()
    for path in JOBS.iterdir():
        assert f"(jobs/{path.name})" in text, path.name
    for link in re.findall(r"\]\((jobs/[^)]+)\)", text):
        assert (PAGE.parent / link).exists(), link


def test_links_within_the_page_have_headings():
    text = PAGE.read_text()
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in headings}
    assert {a for a in re.findall(r"\]\(#([^)]+)\)", text)} <= anchors
