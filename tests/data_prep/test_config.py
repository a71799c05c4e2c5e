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
    "require_all_images",
    "group_salt",
    "max_bad_fraction",
    "allow_quarantined",
    "num_workers",
}


def test_each_field_is_an_option_of_the_dataset_or_known_to_be_none(convert_config):
    labelled = dataclasses.replace(
        convert_config, rle_csv=None, label_csv=convert_config.rle_csv
    )
    found = labelled.options(32)
    # Said of the program, of the size, and by what `label_rule` lists.
    options = found.keys() - {"schema_version", "image_size", "labels", "label_rule"}
    options = options - {"published_folds"} | {"folds_csv", "fold_lists", "label_csv"}
    fields = {field.name for field in dataclasses.fields(ConvertConfig)}
    assert fields - WITHOUT_INFLUENCE == options | found["label_rule"].keys()
