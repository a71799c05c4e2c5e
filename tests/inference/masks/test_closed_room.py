"""Other rooms make masks by `postprocess` alone, but for three that need its parts.

Tuning counts with them, an artefact's graph repeats the filters, and the table of a
prediction measures what came out. The probability of
an image is no mask, and anyone may ask for it.
"""

from tests import test_layers

DOOR = {"inference.masks.postprocess"}
FOR_ALL = {"inference.masks.image_probability"}
PARTS = {
    "artefact": {"inference.masks.mask_filters"},
    "prediction": {"inference.masks.mask_facts"},
    "tuning": {"inference.masks.mask_filters", "inference.masks.upsampling"},
}


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
        allowed = DOOR | FOR_ALL | PARTS.get(relative.parts[1], set())
        users[str(relative)] = imported(path)
        assert users[str(relative)] <= allowed, relative
    assert users["inference/prediction/job.py"] == DOOR
