import dataclasses
import logging
import pathlib

import pytest

from data_prep.config import Placement
from data_prep.core import durable
from data_prep.core import folder_lock
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.executors import choose
from data_prep.executors.executor import Resources
from tests import fakes
from tests.unit_runner import InProcess
from trainer.config import CrossValidation
from trainer.config import TrainConfig
from trainer.run import cross_validation
from trainer.run import member_unit
from trainer.run import members_on_cluster
from trainer.run.member_unit import Member


class FakeCluster(InProcess):
    """Runs units here; remembers what they get and whether they were told to stop."""

    device = Resources(num_cpus=4, num_gpus=1)

    def __init__(self):
        self.resources, self.shared, self.stopped = None, [], False

    def devices(self, *, gpus=True):
        return self.device if gpus else Resources(num_cpus=8)

    def run(self, function, units, *, cost_of, resources):
        self.resources = resources
        try:
            yield from super().run(function, units, cost_of=cost_of)
        except GeneratorExit:
            self.stopped = True
            raise


@pytest.fixture
def cluster(monkeypatch):
    made = FakeCluster()

    def executor(placement, *, shared):
        made.shared = shared
        return made

    monkeypatch.setattr(choose, "executor", executor)
    return made


def config_of(data, output, **changes):
    fields = {
        "data": data,
        "output": output,
        "folds": (0,),
        "seeds": (0, 1),
        "flagfile": "",
        "strategy": "auto",
        "require_gpu": False,
        "passed_over": (),
        "placement": Placement(cluster="auto"),
    }
    return CrossValidation(**fields | changes)


@pytest.fixture
def config(tmp_path):
    return config_of(tmp_path / "data", tmp_path / "runs")


def members_of(config):
    return [Member(folder=config.output / f"m{k}", arguments=()) for k in range(3)]


@pytest.fixture
def trained(monkeypatch):
    """Makes members end with some codes; returns the names of those that began."""
    begun = []

    def use(*codes):
        left = iter(codes)

        def train(member):
            begun.append(member.folder.name)
            code = next(left)
            if not code:
                member.folder.mkdir(parents=True)
                (member.folder / "result.json").write_text("{}")
            return str(int(code))

        monkeypatch.setattr(member_unit, "train", train)
        return begun

    return use


def test_members_get_a_gpu_each_and_all_machines_see_the_folders(
    config, cluster, trained, caplog
):
    begun = trained(0, 0, 0)
    with caplog.at_level(logging.INFO):
        code = members_on_cluster.train(config, members_of(config))
    assert code == ExitCode.DONE
    assert begun == ["m0", "m1", "m2"]
    assert cluster.shared == [config.output, config.data]
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == (
        "3 members train on the cluster, each on 1 GPU; their logs are "
        f"{config.output}/*/member.log"
    )
    assert "member m2 is trained" in lines


@pytest.mark.parametrize(
    ("count", "device", "expected"),
    [
        (None, Resources(num_cpus=4, num_gpus=1), Resources(num_cpus=4, num_gpus=1)),
        (None, Resources(num_cpus=6), Resources(num_cpus=6)),
        (2, Resources(num_cpus=4, num_gpus=1), Resources(num_cpus=8, num_gpus=2)),
        (0, Resources(num_cpus=4, num_gpus=1), Resources(num_cpus=8)),
        # The engine refuses it: no machine has so much.
        (2, Resources(num_cpus=6), Resources(num_cpus=2, num_gpus=2)),
    ],
)
def test_what_a_member_occupies(config, cluster, trained, count, device, expected):
    trained(0, 0, 0)
    cluster.device = device
    asked = dataclasses.replace(config, gpus_per_member=count)
    members_on_cluster.train(asked, members_of(config))
    assert cluster.resources == expected


def test_a_gpu_that_is_required_and_missing(config, cluster):
    cluster.device = Resources(num_cpus=6)
    required = dataclasses.replace(config, require_gpu=True)
    with pytest.raises(CommandError, match="no GPU of the cluster") as e:
        members_on_cluster.train(required, members_of(config))
    assert e.value.exit_code == ExitCode.ENVIRONMENT


def test_a_member_that_stops_stops_the_others(config, cluster, trained, caplog):
    begun = trained(0, ExitCode.DIVERGED)
    code = members_on_cluster.train(config, members_of(config))
    assert code == ExitCode.DIVERGED
    assert begun == ["m0", "m1"]
    assert cluster.stopped
    assert f"m1 ended with exit code 8; see {config.output}/m1" in caplog.text


def test_a_member_that_crashes_is_named_with_its_log(config, cluster, trained):
    trained(139)
    with pytest.raises(CommandError, match=r"status 139; see .*m0/member.log") as e:
        members_on_cluster.train(config, members_of(config))
    # At once, and not when the error's frames are collected.
    assert e.tb
    assert cluster.stopped


def test_a_result_that_does_not_appear(config, cluster, monkeypatch):
    monkeypatch.setattr(member_unit, "train", lambda member: "0")
    monkeypatch.setattr(members_on_cluster, "_SECONDS_TO_APPEAR", 0)
    with pytest.raises(CommandError, match="result.json is not here"):
        members_on_cluster.train(config, members_of(config))


def test_a_member_waits_for_one_that_still_saves_its_state(tmp_path, monkeypatch):
    member = Member(folder=tmp_path / "m", arguments=("--nonsense",))
    monkeypatch.setattr(member_unit, "_SECONDS_TO_FREE", 1)
    with folder_lock.locked(member.folder), pytest.raises(CommandError, match="in use"):
        member_unit.train(member)


def test_a_member_has_the_exit_code_and_the_lines_of_the_trainer(tmp_path, monkeypatch):
    # Other machines start in other folders.
    monkeypatch.chdir(tmp_path)
    member = Member(folder=tmp_path / "m", arguments=("--nonsense",))
    for _ in range(2):
        assert member_unit.train(member) == str(int(ExitCode.FLAGS))
    log = (member.folder / member_unit.LOG).read_text()
    assert log.count("ERROR FLAGS: Unknown command line flag 'nonsense'") == 2


def test_members_are_told_absolute_paths(config, cluster, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    weights = pathlib.Path("weights.h5")
    weights.write_text("")
    sent = []
    monkeypatch.setattr(
        members_on_cluster, "train", lambda _, members: sent.extend(members)
    )
    relative = dataclasses.replace(
        config, data=pathlib.Path("data"), output=pathlib.Path("runs")
    )
    member = fakes.train_config(init_from="other", encoder_weights="weights.h5")
    durable.write_text(cross_validation._flagfile(relative), relative.flagfile)
    cross_validation._train_on_cluster(relative, member, (0,))
    assert [m.folder for m in sent] == [
        tmp_path / "runs" / "fold0-seed0",
        tmp_path / "runs" / "fold0-seed1",
    ]
    assert sent[1].arguments == (
        f"--flagfile={cross_validation._flagfile(config)}",
        "--fold=0",
        "--seed=1",
        f"--workdir={tmp_path}/runs/fold0-seed1",
        f"--data={tmp_path}/data",
        f"--init_from={tmp_path}/other",
        f"--encoder_weights={tmp_path}/weights.h5",
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"strategy": "multi_worker"}, "strategy=multi_worker"),
        ({"strategy": "single", "gpus_per_member": 2}, "gpus_per_member=2"),
        ({"placement": Placement(), "gpus_per_member": 1}, "gpus_per_member=1 alone"),
        ({"gpus_per_member": -1}, "gpus_per_member=-1"),
    ],
)
def test_contradictions(config, changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(config, **changes)


@pytest.mark.slow
def test_the_summary_is_that_of_one_machine(dataset, cluster, tmp_path, capsys):
    flagfile = (
        "--model=nested_unetpp(start_filters=2)\n--epochs=1\n--swa_epochs=1\n--augment=none\n"
        f"--data={dataset / '32'}\n--strategy=single\n"
    )
    # Else as the flags have it.
    member = TrainConfig(
        model="nested_unetpp(start_filters=2)",
        epochs=1,
        swa_epochs=1,
        augment="none",
        seed=0,
    )
    cluster.device = Resources(num_cpus=1)
    summaries = []
    for name, placement in (("local", ""), ("cluster", "auto")):
        config = config_of(
            dataset / "32",
            tmp_path / name,
            strategy="single",
            flagfile=flagfile,
            placement=Placement(cluster=placement),
        )
        assert cross_validation.run(config, member) == ExitCode.DONE
        summaries.append(durable.read_json(tmp_path / name / "summary.json", fix=""))
    assert summaries[0] == summaries[1]
    assert "complete" not in (tmp_path / "cluster/fold0-seed1/member.log").read_text()
    # Again: nothing is sent.
    cluster.resources = None
    assert cross_validation.run(config, member) == ExitCode.DONE
    assert cluster.resources is None
