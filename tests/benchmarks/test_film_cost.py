"""The cost of a film is what commands use, and the arithmetic on it is right."""

import pytest

from tests.benchmarks.cases import film_cost
from tests.benchmarks.fixtures import source_files
from tests.benchmarks.harness import cluster_arithmetic as arithmetic
from tests.benchmarks.harness.cluster_arithmetic import FilmCost
from tests.benchmarks.harness.cluster_arithmetic import Site
from tests.benchmarks.harness.cluster_arithmetic import Units
from tests.benchmarks.sides import film_steps
from tests.benchmarks.sides.film_steps import Job
from tests.benchmarks.sides.film_steps import Used


def cost(**changed):
    given = {
        "header_s": 0.002,
        "plan_s": 0.0001,
        "work_s": 0.01,
        "publish_s": 0.0002,
        "header_bytes": 100_000,
        "read_bytes": 400_000,
        "written_bytes": 100_000,
    }
    return FilmCost(**{**given, **changed})


def site(**changed):
    given = {
        "nodes": 8,
        "processors": 16,
        "cores": 16,
        "node_bytes_s": 1e9,
        "store_bytes_s": 1e10,
    }
    return Site(**{**given, **changed})


def estimate(costs, films, place, **changed):
    units = Units(**{"films": 500, "processors": (1,), **changed})
    return arithmetic.estimate(costs, films, units, place)


def test_a_job_takes_its_three_stages():
    found = estimate(cost(), 1_280_000, site())
    assert found.plan_s == pytest.approx(20 + 128)
    # 2,560 shards of 5 s on 128 cores.
    assert found.work_s == pytest.approx(100)
    assert found.publish_s == pytest.approx(256)
    assert found.total_s == pytest.approx(504)
    assert found.limit == arithmetic.PUBLISH


@pytest.mark.parametrize(
    ("limit", "costs", "places"),
    [
        (arithmetic.PROCESSORS, {"work_s": 1}, {}),
        (arithmetic.NETWORK, {"read_bytes": 4e6}, {"node_bytes_s": 1e7}),
        (arithmetic.STORE, {"written_bytes": 4e6}, {"store_bytes_s": 1e8}),
        (arithmetic.PLAN, {"plan_s": 0.1}, {}),
        (arithmetic.PLAN, {"header_s": 5}, {}),
        (arithmetic.PLAN, {"header_bytes": 4e6}, {"node_bytes_s": 1e7}),
        (arithmetic.PLAN, {"header_bytes": 4e6}, {"store_bytes_s": 1e8}),
        (arithmetic.PUBLISH, {"publish_s": 0.1}, {}),
    ],
)
def test_what_takes_longest_is_the_limit(limit, costs, places):
    assert estimate(cost(**costs), 64_000, site(**places)).limit == limit


def test_the_last_round_of_shards_counts_as_a_whole():
    assert estimate(cost(), 64_000, site()).work_s == pytest.approx(5)
    assert estimate(cost(), 64_001, site()).work_s == pytest.approx(10)
    # A shard with fewer films takes less.
    assert estimate(cost(), 100, site()).work_s == pytest.approx(1)


def test_too_few_shards_keep_few_processors_busy():
    few = estimate(cost(publish_s=0, plan_s=0), 32_000, site())
    assert few.limit == arithmetic.SHARDS
    assert few.work_s == pytest.approx(5)
    # Two cores for each shard, or four, of which some then wait.
    shared = estimate(cost(), 32_000, site(), processors=(1, 2, 4))
    assert shared.work_s == pytest.approx(2.5)


def test_the_store_and_the_driver_do_not_grow_with_the_nodes():
    one, many = (
        estimate(cost(), 1_024_000, site(nodes=n, store_bytes_s=1e8)) for n in (1, 64)
    )
    assert one.publish_s == many.publish_s
    assert (one.limit, many.limit) == (arithmetic.STORE, arithmetic.STORE)
    assert one.work_s == many.work_s == pytest.approx(5120)
    fast = estimate(cost(), 1_024_000, site(nodes=64))
    slow = estimate(cost(), 1_024_000, site(nodes=1))
    assert slow.work_s == pytest.approx(640)
    # 10 s of work, and the store's 51 s.
    assert fast.work_s == pytest.approx(51.2)


def test_a_site_without_machines_is_refused():
    with pytest.raises(ValueError, match="nodes above 0"):
        site(nodes=0)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(5, "5 s"), (59.4, "59 s"), (90, "1.5 min"), (7200, "2.0 h"), (200_000, "2.3 d")],
)
def test_durations_read_well(seconds, text):
    assert arithmetic.duration(seconds) == text


def used(own, workers, peak=100.0):
    return Used(own_cpu_s=own, workers_cpu_s=workers, own_peak_mib=peak)


def job(films, per_film, start):
    steps = {s: used(start + films * own, start + films * w) for s, own, w in per_film}
    return Job(
        films=films, steps=steps, read_bytes=films * 7 + 5, written_bytes=films * 3 + 2
    )


def test_a_start_is_not_in_the_cost_of_a_film():
    per_film = [("plan", 0.25, 0.5), ("part", 1, 2), ("publish", 0.125, -0.5)]
    further = job(40, per_film, start=9).per_film(job(8, per_film, start=9))
    assert film_cost.film_cost(further, reads_twice=True) == FilmCost(
        header_s=0.5,
        plan_s=0.25,
        work_s=3,
        # What comes out below zero by chance counts as nothing.
        publish_s=0.125,
        header_bytes=7,
        read_bytes=7,
        written_bytes=3,
    )


def test_the_tables_have_every_archive(capsys):
    names = [f"{s} px to 256,512" for s in (1024, 2560)] + list(film_cost.MEMBERS)
    film_cost.report({"cores": "2"}, dict.fromkeys(names, cost()))
    text = capsys.readouterr().out
    for name, (films, _) in film_cost.ARCHIVES.items():
        # A conversion, two members on cores and one on GPUs, on 1, 8 and 64 machines.
        assert text.count(f"{name}, {films:,}") == 4 * 3
    # 219 shards of 512 films of 10 ms on 16 cores, in 14 rounds.
    assert "| 1.2 min |" in text


def test_the_gpu_replaces_the_networks_alone():
    found = film_cost.on_gpu(cost())
    assert found.work_s == pytest.approx(1 / 644)
    assert found.publish_s == cost().publish_s


@pytest.mark.slow
def test_the_steps_of_a_conversion_are_run(tmp_path):
    source_files.draw(tmp_path / "drawn", count=8, size=256)
    found = film_steps.conversion(tmp_path / "drawn", tmp_path, "64", 8)
    assert found.steps.keys() == {"plan", "part", "publish"}
    assert all(u.own_cpu_s > 0 and u.own_peak_mib > 10 for u in found.steps.values())
    # A film of 64 px, and its mask of a bit a pixel.
    assert found.written_bytes > 8 * 64 * 64
    assert found.read_bytes > 8 * 1000
    assert not list(tmp_path.glob("out*"))
