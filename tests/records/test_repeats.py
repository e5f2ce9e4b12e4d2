"""Whether one of many values comes twice: none that does is missed, and few are looked at again."""

from hypothesis import given
from hypothesis import strategies as st

from dsmooth.records.digests import digest_json, digest_list
from dsmooth.records.repeats import Repeats, mark


@given(st.lists(st.text(max_size=3)))
def test_what_comes_twice_is_found(values):
    repeats = Repeats()
    for value in values:
        repeats.add(value)
    assert repeats.found() == {mark(value) for value in values if values.count(value) > 1}


@given(st.lists(st.lists(st.text() | st.integers() | st.none())))
def test_a_list_has_one_digest_whole_or_one_after_another(values):
    assert digest_list(iter(values)) == digest_json(values)
