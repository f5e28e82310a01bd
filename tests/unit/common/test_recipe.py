"""Recipes: the key is a pure function of everything that decides an artifact's bytes."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from services.common.artifacts import ArtifactRef, Recipe, canonical_json
from services.common.errors import InvalidOption

scalars = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    scalars | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
options = st.dictionaries(st.text(max_size=6), values, max_size=4)
words = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
refs = st.builds(ArtifactRef, words, st.from_regex(r"[0-9a-f]{64}", fullmatch=True))
inputs = st.dictionaries(words, refs | st.lists(refs, max_size=3), max_size=3)
recipes = st.builds(Recipe, words, words, st.integers(1, 99), inputs, options, st.text(max_size=8))


def shuffled(value: Any) -> Any:
    """The same JSON value with every dict's keys in the opposite order, and tuples for lists."""
    if isinstance(value, dict):
        return {key: shuffled(each) for key, each in reversed(value.items())}
    return tuple(shuffled(each) for each in value) if isinstance(value, list) else value


@given(recipes)
def test_the_order_of_keys_does_not_matter(recipe: Recipe) -> None:
    again = dataclasses.replace(recipe, inputs=shuffled(dict(recipe.inputs)), options=shuffled(dict(recipe.options)))
    assert again.key == recipe.key
    assert again.ref == ArtifactRef(recipe.kind, recipe.key)


@given(recipes)
def test_a_recipe_survives_its_json(recipe: Recipe) -> None:
    assert canonical_json(json.loads(canonical_json(recipe.to_json()))) == canonical_json(recipe.to_json())


@given(recipes, st.data())
def test_any_change_changes_the_key(recipe: Recipe, data: st.DataObject) -> None:
    field = data.draw(st.sampled_from([field.name for field in dataclasses.fields(recipe)]))
    pools = {"version": st.integers(1, 99), "inputs": inputs, "options": options, "model": st.text(max_size=8)}
    change: dict[str, Any] = {field: data.draw(pools.get(field, words))}
    changed = dataclasses.replace(recipe, **change)
    assume(canonical_json(changed.to_json()) != canonical_json(recipe.to_json()))
    assert changed.key != recipe.key


@given(recipes, recipes)
def test_equal_keys_mean_equal_recipes(one: Recipe, other: Recipe) -> None:
    assert (one.key == other.key) == (canonical_json(one.to_json()) == canonical_json(other.to_json()))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"x": 1}, {"x": True}),
        ({"x": 1}, {"x": "1"}),
        ({"x": 1}, {"x": 1.5}),
        ({"x": None}, {}),
        ({"x": []}, {"x": {}}),
        ({"x": ["a", "b"]}, {"x": ["b", "a"]}),
        ({"x": ["ab"]}, {"x": ["a", "b"]}),
        ({"x": "é"}, {"x": "e\N{COMBINING ACUTE ACCENT}"}),
    ],
)
def test_near_misses_differ(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert Recipe("kind", "stage", 1, options=one).key != Recipe("kind", "stage", 1, options=other).key


def test_one_input_is_not_a_list_of_one() -> None:
    ref = ArtifactRef("clip", "0" * 64)
    assert Recipe("kind", "stage", 1, {"clip": ref}).key != Recipe("kind", "stage", 1, {"clip": [ref]}).key


def test_the_key_is_the_same_in_another_process(repository: Path) -> None:
    recipe = Recipe("plate", "segmentation", 3, {"clip": ArtifactRef("clip", "a" * 64)}, {"b": [1, 2.5]})
    program = (
        "from services.common.artifacts import ArtifactRef, Recipe\n"
        "inputs = {'clip': ArtifactRef('clip', 'a' * 64)}\n"
        "print(Recipe('plate', 'segmentation', 3, inputs, {'b': [1, 2.5]}).key, end='')"
    )
    command = [sys.executable, "-c", program]
    told = subprocess.run(command, cwd=repository, check=True, capture_output=True, text=True, timeout=50).stdout
    assert told == recipe.key
    assert told == "5cd8265690a0a4f94ae45ce7a3290db35ca2db6c748a6b659a9d9f4a64a6b7e7"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_values_that_json_lacks_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        canonical_json({"x": value})


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        ("", "0" * 64), ("Clip", "0" * 64), ("a/b", "0" * 64), ("..", "0" * 64), ("clip\n", "0" * 64),
        ("clip", ""), ("clip", "0" * 63), ("clip", "0" * 65), ("clip", "G" * 64), ("clip", "A" * 64),
        ("clip", "0" * 64 + "\n"), ("clip", "../" + "0" * 61),
    ],
)  # fmt: skip
def test_references_of_no_form_are_refused(kind: str, key: str) -> None:
    with pytest.raises(InvalidOption, match="not an artifact reference"):
        ArtifactRef(kind, key)


def test_where_an_artifact_is_stored() -> None:
    ref = ArtifactRef("frame_shard", "0123456789abcdef" * 4)
    assert ref.prefix == f"artifacts/frame_shard/{ref.key}/"
    assert ref.manifest_key == f"{ref.prefix}manifest.json"
