import pytest

from dsmooth.errors import BadRun
from dsmooth.records.outputs import check_writable, claimed
from support import tree


@pytest.mark.parametrize(
    "place", ["file/run", "file", "new/" + "x" * 300, "dangling", "dangling/run", "/proc/run", "a\0b"]
)
def test_what_cannot_be_written_is_refused_in_one_line_and_leaves_nothing(tmp_path, place):
    (tmp_path / "file").write_text("")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    before = tree(tmp_path)
    with pytest.raises(BadRun, match="cannot be written") as refused:
        check_writable(tmp_path / place)
    assert "\n" not in str(refused.value)
    assert tree(tmp_path) == before


def test_a_folder_that_can_be_written_is_as_it_was_afterwards(tmp_path):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "x").write_text("x")
    before = tree(tmp_path)
    check_writable(tmp_path / "old")
    check_writable(tmp_path / "new" / "run")
    assert tree(tmp_path) == before


def test_what_was_written_stays(tmp_path):
    with claimed(tmp_path / "new" / "run"):
        (tmp_path / "new" / "run" / "x").write_text("x")
    assert (tmp_path / "new" / "run" / "x").read_text() == "x"
    with pytest.raises(KeyError), claimed(tmp_path / "other" / "run"):
        raise KeyError
    assert not (tmp_path / "other").exists()
