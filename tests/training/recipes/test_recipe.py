"""Settings for each network: literal, validated, changed without being touched."""

import pytest

from edgewise.errors import InputError
from edgewise.net.catalogue import list_sets
from edgewise.networks.registry import NETWORKS
from edgewise.training.recipes.recipe import FINE_TUNING, NETWORK_RECIPES, PUBLIC_RECIPES, Recipe, recipe_for


def test_every_network_has_a_recipe() -> None:
    assert NETWORK_RECIPES.keys() == NETWORKS.keys()
    assert {name for _, name in PUBLIC_RECIPES} <= {item.name for item in list_sets()}
    assert recipe_for("some.onnx") is FINE_TUNING


def test_every_fault_is_named_at_once() -> None:
    with pytest.raises(InputError, match=r"epochs are at least 1.*average is.*optimizer is") as caught:
        Recipe(epochs=0, optimizer="magic", average=1.0)
    assert len(caught.value.details["problems"]) == 3


def test_changes_are_laid_over_what_is_there() -> None:
    recipe = Recipe(settings={"dropout": 0.3, "widths": (1, 2)})
    changed = recipe.but(epochs=None, batch=8, settings={"dropout": 0.1})
    assert (changed.epochs, changed.batch, changed.settings) == (recipe.epochs, 8, {"dropout": 0.1, "widths": (1, 2)})
    assert recipe.settings["dropout"] == 0.3


def test_last_weights_are_chosen_by_no_figure() -> None:
    """Evaluated once, when training is over: the test data picks no epoch."""
    settings = Recipe(epochs=7, keep="last", patience=3).fit_settings(0, evaluated=True)
    assert (settings.evaluate_every, settings.patience) == (7, 0)
    assert Recipe(epochs=7).fit_settings(0, evaluated=True).evaluate_every == 1
