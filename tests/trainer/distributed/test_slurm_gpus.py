import pytest

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from trainer.distributed import slurm_gpus
from trainer.machine import gpus


@pytest.fixture(autouse=True)
def driver(monkeypatch):
    """A machine of four GPUs."""
    four = tuple(
        gpus.Gpu(
            index=k,
            name="H100",
            compute_capability=(9, 0),
            memory_bytes=0,
            free_bytes=0,
        )
        for k in range(4)
    )
    found = [gpus.Driver(version="", gpus=four)]
    monkeypatch.setattr(gpus, "driver", lambda: found[0])
    return found


def shares(environ, num_tasks):
    """Returns what each task of the node sees in the end, and what is said."""
    seen, said = [], []
    for local in range(num_tasks):
        mine = dict(environ)
        said.append(slurm_gpus.set_visible(mine, num_tasks, local))
        seen.append(mine.get("CUDA_VISIBLE_DEVICES"))
    return seen, said


def test_gpus_that_all_tasks_see_are_shared_out():
    all_see = {"CUDA_VISIBLE_DEVICES": "0,1,2,3", "SLURM_GPUS_ON_NODE": "4"}
    seen, said = shares(all_see, 4)
    assert seen == ["0", "1", "2", "3"]
    assert said[2] == (
        "all 4 tasks of the node see 4 GPUs (0,1,2,3); SLURM_LOCALID=2 takes 2"
    )
    assert shares(all_see, 2)[0] == ["0,1", "2,3"]
    seen, said = shares(all_see, 3)
    assert seen == ["0", "1", "2"]
    assert said[0].endswith("SLURM_LOCALID=0 takes 0, and 1 of them no task")


def test_names_of_gpus_are_kept():
    named = {"CUDA_VISIBLE_DEVICES": "GPU-a, GPU-b", "SLURM_GPUS_ON_NODE": "2"}
    assert shares(named, 2)[0] == ["GPU-a", "GPU-b"]


def test_gpus_that_slurm_has_bound_to_a_task_stay_as_they_are():
    """In a container of its own, each task has number 0."""
    for bound in (
        {"CUDA_VISIBLE_DEVICES": "0", "SLURM_GPUS_ON_NODE": "2"},
        {"CUDA_VISIBLE_DEVICES": "0,1", "SLURM_GPUS_PER_TASK": "2"},
    ):
        seen, said = shares(bound, 2)
        assert seen == [bound["CUDA_VISIBLE_DEVICES"]] * 2
        assert said[0].endswith("for itself")


def test_a_task_that_is_alone_keeps_all():
    environ = {"CUDA_VISIBLE_DEVICES": "0,1"}
    assert shares(environ, 1) == (["0,1"], [""])


def test_without_the_variable_the_driver_is_asked(driver):
    assert shares({}, 2)[0] == ["0,1", "2,3"]
    driver[0] = None
    assert shares({}, 2) == ([None, None], ["", ""])
    # The user has hidden all.
    assert shares({"CUDA_VISIBLE_DEVICES": ""}, 2)[0] == ["", ""]


def test_fewer_gpus_than_tasks_are_refused():
    with pytest.raises(CommandError, match="--ntasks-per-node=1") as e:
        shares({"CUDA_VISIBLE_DEVICES": "0", "SLURM_GPUS_ON_NODE": "1"}, 2)
    assert e.value.exit_code == ExitCode.ENVIRONMENT
