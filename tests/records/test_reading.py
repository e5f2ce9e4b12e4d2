"""JSON from strangers."""

import json
import subprocess
import sys

import pytest

from dsmooth.records.reading import strict_json


@pytest.mark.parametrize(
    "text", ['{"a":[1,{"b":"]}\\\\"}]}', '"[[[[\\"[[[["', '["\\\\",["\\\\\\""]]', "3", "[[],[],[],{}]"]
)
def test_what_is_shallow_is_read_as_json_reads_it(text):
    assert strict_json(text, deepest=3) == json.loads(text)
    assert strict_json(text.encode("utf-16"), deepest=3) == json.loads(text)


@pytest.mark.parametrize(
    "text", ["[[[[]]]]", '[[["[]]]",[]]]', '{"\\"]":{"":[{}]}}', "[[[[" * 50_000, '["\\\\",[[[]]]]']
)
def test_what_is_deeper_is_refused(text):
    with pytest.raises(ValueError, match="nested more than 3 deep"):
        strict_json(text, deepest=3)


def test_a_name_stands_once():
    with pytest.raises(ValueError, match="each field once"):
        strict_json('{"a":1,"a":1}')


def test_deep_json_is_refused_whatever_the_limit_of_recursion_is(tmp_path):
    """Python's own parser ends the process there, by a signal."""
    code = (
        "import sys; sys.setrecursionlimit(10**6); from pathlib import Path; from dsmooth.errors import BadRun\n"
        "from dsmooth.records.certificate_file import read_certificate\n"
        "from dsmooth.records.schema import Record\n"
        "deep = '[' * 200_000 + ']' * 200_000\n"
        "path = Path(sys.argv[1]); path.write_text(deep)\n"
        "for read in (lambda: read_certificate(path), lambda: Record.parse(deep)):\n"
        "    try: read()\n"
        "    except BadRun as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "deep.json"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("nested more than 200 deep") == 2
