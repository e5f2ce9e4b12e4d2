import pytest

from dsmooth.errors import BadRun
from dsmooth.report.imported import imported_table, read_tsv

COHEN = "".join(
    "\t".join(row.split()) + "\n"
    for row in (
        "idx label predict radius correct time",
        "0 3 3 0.95 1 0:00:02.1",
        "20 8 -1 0.0 0 0:00:02.0",
        "40 8 1 0.4 0 0:00:02.0",
        "60 1 1 0.12 1 0:00:02.0",
    )
)


def test_a_file_is_shown_as_it_stands(tmp_path):
    (tmp_path / "cohen.tsv").write_text(COHEN)
    file = read_tsv(tmp_path / "cohen.tsv")
    assert [file.share(radius) for radius in (0.0, 0.12, 0.5, 0.95)] == [0.5, 0.25, 0.25, 0.0]
    assert file.abstained == 1
    table = imported_table([file], [0.0, 0.5])
    assert "| cohen.tsv | 4 | 25.0 | 50.0 | 25.0 |" in table
    assert "r = 0.76" in imported_table([file])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "idx\tlabel\n",
        COHEN.split("\n")[0],
        COHEN + "61\t1\n",
        COHEN + "61\t1\t1\tnan\t1\t0\n",
        COHEN + "61\t1\t1\t-1\t1\t0\n",
        COHEN + "60\t1\t1\t0.1\t1\t0\n",
        COHEN + "61\t1\t1\t0.1\tyes\t0\n",
    ],
)
def test_other_files_are_refused(tmp_path, text):
    (tmp_path / "cohen.tsv").write_text(text)
    with pytest.raises(BadRun, match=r"cohen\.tsv.*: expected"):
        read_tsv(tmp_path / "cohen.tsv")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(BadRun, match="cannot read it"):
        read_tsv(tmp_path / "none.tsv")


def test_our_own_export_can_be_read(tmp_path):
    import numpy as np

    from dsmooth import SmoothedClassifier, open_images
    from dsmooth.report.page import write_report
    from dsmooth.report.summary import summarise
    from dsmooth.runs.certify import certify_run
    from support import Linear

    np.savez(tmp_path / "x.npz", images=np.full((2, 4, 4, 3), 250, np.uint8), labels=np.array([1, 0]))
    run = certify_run(
        SmoothedClassifier(Linear(), None, 0.5), open_images(tmp_path / "x.npz"), tmp_path / "run", n0=5, n=50
    )
    write_report(summarise([run]), tmp_path / "report")
    file = read_tsv(tmp_path / "report" / "run.tsv")
    assert file.correct == (True, False)
    assert file.share(0.0) == 0.5


def test_text_in_the_place_of_a_class_is_one_line(tmp_path):
    (tmp_path / "x.tsv").write_text(COHEN + "61\tcat\tcat\t0.1\t1\t0\n")
    with pytest.raises(BadRun, match=r"x\.tsv, line 6: expected one image as") as refused:
        read_tsv(tmp_path / "x.tsv")
    assert "\n" not in str(refused.value)
