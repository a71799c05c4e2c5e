from data_prep.core import text_table


def test_columns_are_aligned_and_nothing_is_read_as_markup():
    found = text_table.render(
        ("model", "px", "a source"),
        [("unet[bold]", "512", "x"), ("vae", "1", "longer than the title")],
        left=("model", "a source"),
    )
    assert found.split("\n") == [
        "model        px  a source",
        "unet[bold]  512  x",
        "vae           1  longer than the title",
    ]


def test_a_wide_table_is_not_wrapped(monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    lines = text_table.render(["a" * 90, "b"], [["1", "c" * 90]]).split("\n")
    assert lines == ["a" * 90 + "  " + " " * 89 + "b", " " * 89 + "1  " + "c" * 90]
