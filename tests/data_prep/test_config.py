import dataclasses

from data_prep.config import ConvertConfig

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
    "group_salt",
    "max_bad_fraction",
    "allow_quarantined",
    "num_workers",
}


def test_each_field_is_an_option_of_the_dataset_or_known_to_be_none(convert_config):
    options = {
        "folds_csv" if name == "published_folds" else name
        for name in convert_config.options(32)
    }
    fields = {field.name for field in dataclasses.fields(ConvertConfig)}
    assert fields - WITHOUT_INFLUENCE == options - {"image_size"}
