import dataclasses
import pathlib

import pytest

from data_prep.config import ConvertConfig
from data_prep.core.errors import ConfigError

# They choose the inputs, the place and the work, but no record has them.
WITHOUT_INFLUENCE = {
    "source",
    "rle_csv",
    "mask_source",
    "test_source",
    "output",
    "sizes",
    "group_csv",
    "source_manifest",
    "require_all_images",
    "group_salt",
    "max_bad_fraction",
    "allow_quarantined",
    "num_workers",
    "placement",
}


def test_each_field_is_an_option_of_the_dataset_or_known_to_be_none(convert_config):
    labelled = dataclasses.replace(
        convert_config, rle_csv=None, label_csv=convert_config.rle_csv
    )
    found = labelled.options(32)
    # Said of the program, of the size, and by what `label_rule` lists.
    options = found.keys() - {"schema_version", "image_size", "labels", "label_rule"}
    options = options - {"published_folds", "group_salt_check"} | {
        "folds_csv",
        "fold_lists",
        "label_csv",
    }
    fields = {field.name for field in dataclasses.fields(ConvertConfig)}
    assert fields - WITHOUT_INFLUENCE == options | found["label_rule"].keys()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"uncertain": "negative"}, "--label_csv. Received: uncertain=negative"),
        ({"readers": "majority"}, "--label_csv. Received: readers=majority"),
        (
            {"label_csv": (pathlib.Path("a.csv"),), "rle_csv": None, "source": None},
            "--source with --label_csv",
        ),
    ],
)
def test_options_without_effect_are_refused(convert_config, options, message):
    options = {"test_source": convert_config.source, **options}
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(convert_config, **options)


def test_a_source_does_not_lie_in_the_output(convert_config):
    with pytest.raises(ConfigError, match="outside of the output"):
        dataclasses.replace(convert_config, output=convert_config.source.parent)


def test_another_salt_is_another_configuration(convert_config):
    def check(salt):
        options = dataclasses.replace(convert_config, group_salt=salt).options(32)
        return options["group_salt_check"]

    assert check("") is None
    assert len({check("a"), check("b")}) == 2
    assert "secret" not in check("secret")
