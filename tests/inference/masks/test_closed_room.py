"""Other rooms import `postprocess` alone; tuning also counts with its parts."""

from tests import test_layers

DOOR = {"inference.masks.postprocess"}
TUNING = {"inference.masks.mask_filters", "inference.masks.upsampling"}


def imported(path) -> set[str]:
    """Returns the modules of the room that a file imports."""
    names = {".".join(name.split(".")[:3]) for name in test_layers.imports(path)}
    return {name for name in names if name.startswith("inference.masks")}


def test_the_room_is_closed():
    users = {}
    for path in test_layers.FILES:
        relative = path.relative_to(test_layers.ROOT)
        if relative.parts[:2] == ("inference", "masks"):
            continue
        allowed = DOOR | (TUNING if relative.parts[1] == "tuning" else set())
        users[str(relative)] = imported(path)
        assert users[str(relative)] <= allowed, relative
    assert users["inference/prediction/job.py"] == DOOR
