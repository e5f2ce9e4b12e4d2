import json

import pytest

from dsmooth.errors import BadParameter, BadRun
from dsmooth.services.provider import reply_of
from dsmooth.services.voting import LabelMap, Presence, TopLabel, rule_of

REPLY = reply_of([("Pet", 0.9), ("Tabby", 0.8), ("Dog", 0.3), ("cat", 0.95)], "1")
EMPTY = reply_of([], "1")
ANIMALS = LabelMap({"dog": ["dog", "puppy"], "cat": ["Cat", "tabby", "kitten"]})


def test_top_label():
    assert TopLabel().vote(REPLY) == "cat"
    assert TopLabel().vote(reply_of([("a", 0.5), ("b", 0.5)], None)) == "a"


def test_label_map_takes_the_highest_label_that_it_knows():
    assert ANIMALS.vote(REPLY) == 1
    assert ANIMALS.vote(reply_of([("Pet", 0.9), ("PUPPY", 0.8), ("tabby", 0.7)], None)) == 0
    assert ANIMALS.vote(reply_of([("Pet", 0.9)], None)) is None
    assert ANIMALS.class_names == ["dog", "cat"]


def test_presence():
    assert Presence("dog", 0.3).vote(REPLY) == 0
    assert Presence("dog", 0.31).vote(REPLY) == 1
    assert Presence("weapon").vote(REPLY) == 1


@pytest.mark.parametrize("rule", [TopLabel(), ANIMALS, Presence("weapon", 0.25)])
def test_a_rule_can_be_written_down_and_an_empty_answer_is_no_vote(rule):
    again = rule_of(json.loads(json.dumps(rule.describe())))
    assert again.describe() == rule.describe()
    assert again.vote(REPLY) == rule.vote(REPLY)
    assert list(again.class_names or []) == list(rule.class_names or [])
    assert rule.vote(EMPTY) is None


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"a":["x"]}',
        '{"a":"x","b":["y"]}',
        '{"a":["x"],"b":["X"]}',
        '{"a":[],"b":["y"]}',
        '{"a":[1],"b":["y"]}',
        '{"a":5,"b":["y"]}',
        '{"a":{"x":"x"},"b":["y"]}',
        '{"a":["x"],"a":["z"],"b":["y"]}',  # the first would silently be gone
        '{"a":["\\ud800"],"b":["y"]}',
        '{"a":["x"],"b":NaN}',
        '{"a":["x"],"b":' + "9" * 5000 + "}",
        '{"a":["x"],"b":' + "[" * 60 + "]" * 60 + "}",
        "[" * 100_000,
        '{"a":' * 100_000,
    ],
    ids=lambda text: text[:20],
)
def test_bad_label_maps_get_one_line(tmp_path, text):
    (tmp_path / "map.json").write_text(text)
    with pytest.raises(BadParameter, match="label map") as refused:
        LabelMap.load(tmp_path / "map.json")
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 500


def test_bad_rules_are_refused():
    for label, threshold in (("", 0.5), ("x", 1.5), ("x", float("nan")), ("x\udcff", 0.5), ("x\ny", 0.5)):
        with pytest.raises(BadParameter, match="threshold from 0 to 1"):
            Presence(label, threshold)
    twice = {"rule": "label map", "classes": [["a", ["x"]], ["a", ["z"]], ["b", ["y"]]]}
    for described in (
        {},
        {"rule": "best of three"},
        {"rule": "presence"},
        None,
        {"rule": "presence", "label": 1},
        twice,
        {"rule": "label map", "classes": 3},
        {"rule": "label map", "classes": [[[], ["x"]]]},
    ):
        with pytest.raises(BadRun, match="expected a voting rule"):
            rule_of(described)
