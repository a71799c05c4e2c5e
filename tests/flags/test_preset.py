import re

import pytest
from absl import flags

from data_prep.core.errors import CommandError
from flags import crossval as crossval_flags
from flags import preset
from flags import trainer as trainer_flags
from trainer.models import registry


@pytest.mark.parametrize("name", preset.names())
def test_the_header_says_what_the_recipe_is(name):
    recipe = preset.read(name)
    assert recipe.size % 32 == 0
    assert not re.search(r"_\d+$", name) or name.endswith(f"_{recipe.size}")
    assert f"{recipe.size} px" in recipe.about
    assert re.fullmatch(r"[\d,]+ parameters, [\d.]+ GFLOP an image", recipe.cost)
    assert recipe.score
    assert re.match(r"[A-Z].+\.", recipe.about)
    assert "Cost" not in recipe.about
    assert "Size" not in recipe.about
    assert recipe.value("model").partition("(")[0] in registry.MODELS


@pytest.mark.parametrize("name", preset.names())
def test_both_commands_use_its_flags(name):
    names = {a.partition("=")[0][2:] for a in preset.read(name).arguments}
    for groups in (trainer_flags.GROUPS, crossval_flags.GROUPS):
        assert names <= set(groups.names())
    assert "preset" not in names


def test_what_it_does_not_say_is_the_flag_s_default():
    assert preset.read("demo").value("epochs") == "10"
    assert preset.read("demo").value("fold") == str(flags.FLAGS["fold"].default)


@pytest.mark.parametrize(
    ("name", "tip"),
    [
        ("unet512", "did you mean unet_512"),
        ("flags/presets/unet_512.flagfile", "did you mean unet_512"),
        ("../presets/unet_512", "did you mean unet_512"),
        ("zzz", "--preset=list shows all"),
    ],
)
def test_an_unknown_preset(name, tip):
    with pytest.raises(CommandError, match="no preset") as e:
        preset.read(name)
    assert f"; {tip}" in str(e.value)
    assert "--preset=list" in str(e.value)


def test_the_table_has_every_preset():
    lines = preset.table(80).splitlines()
    assert max(map(len, lines)) <= 80
    rows = [line.split() for line in lines if line and not line.startswith(" ")]
    assert ["unet_512", "unet", "512", "70", "8"] in rows
    assert {row[0] for row in rows} >= set(preset.names())
    flat = " ".join(" ".join(lines).split())
    for name in preset.names():
        assert preset.read(name).cost in flat
    assert flat.count("float32") == 16
    assert flat.count("Score: not measured") == 18
    assert "mixed_float16. 2 x 16 GB: 5.6 GB a card by estimate. Score" in flat
    assert "mixed_bfloat16. 8 x 80 GB: 20 GB a card by estimate. Score" in flat


def test_the_cards_of_a_recipe():
    two, any_card = preset.read("kaggle_2xt4_256"), preset.read("demo")
    assert (two.num_cards, two.card) == (2, 16)
    assert (any_card.num_cards, any_card.card) == (1, 0)
    for recipe in map(preset.read, preset.names()):
        batch, parts = recipe.value("global_batch_size"), recipe.value("accumulation")
        assert int(batch) % (recipe.num_cards * int(parts)) == 0
        assert bool(recipe.cards) == bool(recipe.card) == bool(recipe.memory)
