import pytest

from data_prep.build import shared_patients


def patients(*counts):
    """Returns {image: patient} with a patient of so many images for each count."""
    return {f"{p}-{k}": f"p{p}" for p, n in enumerate(counts) for k in range(n)}


@pytest.mark.parametrize(
    "counts",
    [[16], [13, 1, 1, 1], [11, 9], [12, *[1] * 40], [30, 2, 3, 3, *[2] * 30]],
)
def test_an_id_that_many_images_share_is_told_without_the_id(counts):
    cause = shared_patients.find(patients(*counts))
    assert cause.what.startswith(f"{counts[0]} of {sum(counts)} images")
    assert "--group_csv" in cause.fix
    assert "--patient_column" in cause.fix
    assert "p0" not in f"{cause.what}{cause.fix}"


@pytest.mark.parametrize(
    "counts", [[], [9], [10, 10], [9, 1, 1], [12, *[1] * 60], [20, 19, 18, 10]]
)
def test_usual_studies_are_not(counts):
    assert shared_patients.find(patients(*counts)) is None


def test_unknown_patients_are_no_patient():
    assert shared_patients.find(dict.fromkeys(map(str, range(50)), "")) is None
