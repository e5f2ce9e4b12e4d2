import fractions
import subprocess
import sys

import pytest

from dsmooth.errors import BadModel, BadParameter
from dsmooth.registry import Registry

NUMBERS = Registry("number", {"exact": "fractions:Fraction", "hf:OWNER/NAME": "decimal:Decimal"}, BadModel)


def test_the_object_of_a_name_is_loaded():
    assert NUMBERS.load("exact") is fractions.Fraction
    assert list(NUMBERS) == ["exact", "hf:OWNER/NAME"]
    assert str(NUMBERS) == "exact, hf:OWNER/NAME"


def test_a_form_stands_for_all_specs_of_its_scheme():
    assert NUMBERS.load("hf:me/mine").__name__ == "Decimal"
    assert NUMBERS.find("hf:me/mine") == "hf:OWNER/NAME"
    for spec in ("hf", "exact:", "exact:more", "h:x", "", ":"):
        assert NUMBERS.find(spec) is None, spec


def test_unknown_names_are_answered_with_all_that_are_known():
    with pytest.raises(BadModel, match=r"^number must be one of exact, hf:OWNER/NAME, got 'real'$"):
        NUMBERS.load("real")
    with pytest.raises(BadModel, match="exact"):
        NUMBERS.check("real")
    with pytest.raises(BadParameter):
        Registry("law", {}).load("gaussian")


def test_nothing_is_imported_before_it_is_asked_for():
    code = (
        "import sys; from dsmooth.registry import Registry\n"
        "registry = Registry('number', {'exact': 'fractions:Fraction'})\n"
        "before = 'fractions' in sys.modules; registry.load('exact'); print(before, 'fractions' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]
