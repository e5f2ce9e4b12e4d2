"""The progress bar on terminals of several widths: one line, and none that stays behind."""

import re
import sys

import numpy as np
import pytest
from PIL import Image

from cli.terminal import watched
from support import environment

TIMES = re.compile(r"left +(\d:\d\d:\d\d|-:--:--)")

BAR = """
import time
from dsmooth.console import Bar, note
with Bar("certify", 1_000_000, "samples") as bar:
    for i in range(1, 13):
        bar.to(i * 80_000, f"{i} of 100 images")
        time.sleep(0.12)
        if i % 4 == 0:
            bar.say(f"result {i}")
        if i == 6:
            note("a note")
"""


@pytest.mark.parametrize("columns", [60, 80, 100])
def test_results_stand_above_one_bar(tmp_path, columns):
    code, last, screens = watched([sys.executable, "-c", BAR], columns, tmp_path, environment())
    assert code == 0
    assert last[:-1] == ["result 4", "a note", "result 8", "result 12"]
    assert "960000/1000000" in last[-1]
    assert "12 of 100 images" in last[-1]
    bars = [[line for line in screen if "/1000000" in line or "images" in line] for screen in screens]
    assert max(map(len, bars)) == 1
    assert all(TIMES.search(line) for (line,) in filter(None, bars))


@pytest.mark.parametrize("columns", [60, 80, 100])
def test_certify_leaves_one_line_for_each_image(tmp_path, columns):
    (tmp_path / "images").mkdir()
    for i in range(4):
        Image.fromarray(np.full((8, 8, 3), 200 + i, np.uint8)).save(tmp_path / "images" / f"{i}.png")
    arguments = ["certify", "images", "-c", "import:support:Linear", "-d", "none", "--n", "20000", "-o", "run"]
    code, last, screens = watched([sys.executable, "-m", "dsmooth", *arguments], columns, tmp_path, environment())
    assert code == 0, last
    text = "\n".join(last)
    assert [len(re.findall(rf"^{i}\.png ", text, re.M)) for i in range(4)] == [1] * 4
    assert len(TIMES.findall(text)) == 1
    assert all(len(TIMES.findall("\n".join(screen))) <= 1 for screen in screens)
    assert "4 of 4 images certified" in text
