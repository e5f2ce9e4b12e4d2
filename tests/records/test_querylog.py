import json

import pytest

from dsmooth.errors import BadRun
from dsmooth.records.querylog import LOG, Address, Entry, QueryLogWriter, read_query_log

HEADER = {"classifier": {"provider": "aws:rekognition"}, "key_commitment": "k", "parameters": "p"}
AT = [Address("i" * 64, phase, i) for phase in ("selection", "estimation") for i in range(3)]


@pytest.fixture
def log(tmp_path):
    writer = QueryLogWriter(tmp_path / LOG, HEADER)
    writer.sent(None)
    writer.canary(0, "3.0", {"label": "x"})
    for i, at in enumerate(AT[:-1]):
        writer.sent(at)
        writer.answer(at, f"{i:064d}", "3.0", {"label": "é", "score": 0.1 + 0.2})
    writer.sent(AT[-1])
    writer.missing(AT[-1], "f" * 64, "429 five times")
    writer.close()
    return tmp_path / LOG


def test_what_was_written_is_read(log):
    held = read_query_log(log)
    assert held.tries == 7
    assert held.version == "3.0"
    assert held.canaries.keys() == {0}
    assert list(held.entries) == AT
    assert json.loads(held.entries[AT[0]].raw) == {"label": "é", "score": 0.1 + 0.2}
    assert held.entries[AT[-1]] == Entry(None, "f" * 64, "429 five times")
    assert held.torn == 0


def test_a_torn_last_line_is_cut_off_and_its_sample_is_open_again(log):
    whole = log.read_bytes()
    last = whole.rindex(b"\n", 0, -1) + 1
    for cut in range(last + 1, len(whole)):
        log.write_bytes(whole[:cut])
        held = read_query_log(log)
        assert held.torn == cut - last
        assert AT[-1] not in held.entries
        assert held.tries == 7
    writer = QueryLogWriter(log, HEADER)
    writer.missing(AT[-1], "f" * 64, "429 five times")
    writer.close()
    assert log.read_bytes() == whole


def test_every_other_damage_is_refused_with_its_place(log):
    lines = log.read_bytes().splitlines(keepends=True)
    place = sum(map(len, lines[:4]))
    changed = lines[4].replace(b'"score":0.3', b'"score":0.4')
    assert changed != lines[4]
    damaged = {
        "a changed byte": [*lines[:4], changed, *lines[5:]],
        "a torn line in the middle": [*lines[:4], lines[4][:30] + b"\n", *lines[5:]],
        "a line taken out": [*lines[:4], *lines[5:]],
        "a line twice": [*lines[:4], lines[3], *lines[4:]],
        "two lines in another order": [*lines[:4], lines[5], lines[4], *lines[6:]],
        "no JSON": [*lines[:4], b"\x00\xff\n", *lines[5:]],
        "another value": [*lines[:4], b"[]\n", *lines[5:]],
    }
    for kind, content in damaged.items():
        log.write_bytes(b"".join(content))
        with pytest.raises(BadRun, match=f"byte {place}: .*cannot be trusted") as refused:
            read_query_log(log)
        assert str(log) in str(refused.value), kind
    for content in (b"", b"x", b"".join(lines[1:])):
        log.write_bytes(content)
        with pytest.raises(BadRun):
            read_query_log(log)
    log.unlink()
    with pytest.raises(BadRun, match="cannot read it"):
        read_query_log(log)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda w: w.answer(AT[0], "0" * 64, "3.0", {}), "expected each sample once"),
        (lambda w: w.missing(AT[0], None, "late"), "expected each sample once"),
        (lambda w: w.answer(Address("j", "selection", 0), "0" * 64, "4.0", {}), "one model version, got 3.0 and 4.0"),
        (lambda w: w._write({"kind": "guess"}), "a line of a known kind"),
        (lambda w: w._write({"kind": "header", "schema": 1}), "one header, in the first line"),
    ],
)
def test_well_sealed_nonsense_is_refused_too(log, write, message):
    writer = QueryLogWriter(log, HEADER)
    write(writer)
    writer.close()
    with pytest.raises(BadRun, match=message):
        read_query_log(log)


def test_the_log_of_something_else_is_not_gone_on_with(log):
    before = log.read_bytes()
    with pytest.raises(BadRun, match="another service, preparation, voting rule or key; nothing was sent"):
        QueryLogWriter(log, {**HEADER, "key_commitment": "other"})
    assert log.read_bytes() == before


def test_a_crash_before_the_first_line_leaves_nothing_in_the_way(tmp_path):
    (tmp_path / LOG).write_bytes(b'{"kind":"hea')
    QueryLogWriter(tmp_path / LOG, HEADER).close()
    assert read_query_log(tmp_path / LOG).entries == {}


def test_a_full_disk_leaves_a_log_that_can_be_gone_on_with(tmp_path, monkeypatch):
    writer = QueryLogWriter(tmp_path / LOG, HEADER)
    writer.answer(AT[0], "0" * 64, None, {"a": 1})

    class Full:
        def __init__(self, file):
            self.file = file

        def write(self, data):
            return self.file.write(data[: len(data) // 2])

        def __getattr__(self, name):
            return getattr(self.file, name)

    monkeypatch.setattr(writer, "_file", Full(writer._file))
    with pytest.raises(OSError, match="full"):
        writer.answer(AT[1], "1" * 64, None, {"a": 2})
    writer.close()
    again = QueryLogWriter(tmp_path / LOG, HEADER)
    assert list(again.held.entries) == AT[:1]
    again.answer(AT[1], "1" * 64, None, {"a": 2})
    again.close()
    assert list(read_query_log(tmp_path / LOG).entries) == AT[:2]


@pytest.mark.parametrize("line", ["[" * 100_000, '{"kind":' * 100_000, "5", '"x"', "null", "9" * 5000])
def test_lines_that_are_no_log_are_one_line(log, line):
    log.write_bytes(log.read_bytes() + line.encode() + b"\n")
    with pytest.raises(BadRun, match=r"byte [0-9]+: .*cannot be trusted") as refused:
        read_query_log(log)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 1000
