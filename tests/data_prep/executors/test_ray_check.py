import pytest

from data_prep.core import durable

pytest.importorskip("ray")


def test_names_of_films_go_by_a_file_that_is_dropped(tmp_path):
    from data_prep.executors import ray_check
    from data_prep.executors import ray_probe

    output, source = tmp_path / "output", tmp_path / "source"
    source.mkdir()
    film = source / "Doe^John.dcm"
    film.write_text("film")
    with ray_check._witnesses([output, source]) as (folders, files):
        assert film.name not in str(files)
        assert ray_probe.look(files, [], [])["unseen"] == []
        film.write_text("another film")
        (number,) = ray_probe.look(files, [], [])["unseen"]
        assert folders[number] == source
        (left,) = output.iterdir()
        text = left.read_text()
    assert not list(output.iterdir())
    # As one that a killed command has left.
    left.write_text(text)
    durable.drop_incomplete(output)
    assert not list(output.iterdir())
