"""How long 100,000 images take to their first vote, from the start of the program, in each layout that is opened lazily.

python -m benchmarks.large_sets
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from dsmooth.errors import require

__all__ = ["LAYOUTS", "seconds"]

SIDE = 32
_CLASSES = 10

_RUN = """
import os, sys, time
from pathlib import Path
started = float(sys.argv[1])
from dsmooth import SmoothedClassifier, TorchClassifier, open_images
from dsmooth.classifiers.cifar_resnet import CifarResNet
from dsmooth.runs.certify import certify_run

def show(progress):
    if progress.samples:
        with open("/proc/self/status") as status:
            peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
        print(time.time() - started, time.process_time(), opened, peak / 1e3, flush=True)
        os._exit(0)

images = open_images(sys.argv[2])
opened = time.process_time()
usual = dict(dtype="fp32", backend="eager", batch=64, workers=1)
smoothed = SmoothedClassifier(TorchClassifier(CifarResNet(20)), None, 0.25, **usual)
certify_run(smoothed, images, Path(sys.argv[2]).parent / "run", n0=100, n=1000, on_progress=show)
"""


def _folder(place: Path, files: list[bytes]) -> Path:
    for label in range(_CLASSES):
        (place / "images" / f"class-{label}").mkdir(parents=True)
    for i, content in enumerate(files):
        (place / "images" / f"class-{i % _CLASSES}" / f"{i:06d}.png").write_bytes(content)
    return place / "images"


def _tar(place: Path, files: list[bytes]) -> Path:
    with tarfile.open(place / "images.tar", "w") as tar:
        for i, content in enumerate(files):
            for name, held in ((f"{i:06d}.png", content), (f"{i:06d}.cls", b"%d" % (i % _CLASSES))):
                member = tarfile.TarInfo(name)
                member.size, member.mtime = len(held), 1700000000.5
                tar.addfile(member, io.BytesIO(held))
    return place / "images.tar"


def _parquet(place: Path, files: list[bytes]) -> Path:
    arrow, parquet = require("pyarrow", "table"), require("pyarrow.parquet", "table")
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel"}}
    table = arrow.table(
        {"image": [{"bytes": held, "path": None} for held in files], "label": [i % _CLASSES for i in range(len(files))]}
    ).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    parquet.write_table(table, place / "images.parquet", row_group_size=1000)
    return place / "images.parquet"


def _tiny(place: Path, files: list[bytes]) -> Path:
    words = [f"n{i:08d}" for i in range(_CLASSES)]
    (place / "tiny" / "val" / "images").mkdir(parents=True)
    (place / "tiny" / "wnids.txt").write_text("\n".join(words))
    lines = [f"val_{i}.JPEG\t{words[i % _CLASSES]}\t0\t0\t1\t1\n" for i in range(len(files))]
    (place / "tiny" / "val" / "val_annotations.txt").write_text("".join(lines))
    for i, content in enumerate(files):
        (place / "tiny" / "val" / "images" / f"val_{i}.JPEG").write_bytes(content)
    return place / "tiny"


LAYOUTS: dict[str, Callable[[Path, list[bytes]], Path]] = {
    "folder": _folder,
    "webdataset": _tar,
    "parquet": _parquet,
    "tiny-imagenet": _tiny,
}


def seconds(layout: str, count: int) -> tuple[float, float, float, float]:
    """From the start of the program to the first vote: seconds, those of the processor, those until the images are listed.

    And MB of memory at the first vote. The network is a small one, which is asked for 64 samples.
    """
    import time

    rng = np.random.default_rng(0)
    files = []
    for _ in range(100):  # others repeat these: what counts is how many there are
        file = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)).save(file, "PNG")
        files.append(file.getvalue())
    with tempfile.TemporaryDirectory() as folder:
        place = LAYOUTS[layout](Path(folder), [files[i % len(files)] for i in range(count)])
        done = subprocess.run(
            [sys.executable, "-c", _RUN, str(time.time()), str(place)], capture_output=True, text=True, check=False
        )
    if not done.stdout:
        raise RuntimeError(done.stderr)
    first, busy, opened, peak = map(float, done.stdout.split())
    return first, busy, opened, peak


def main() -> None:
    """Prints a line for each layout."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    count = parser.parse_args().count
    for layout in LAYOUTS:
        first, busy, opened, peak = seconds(layout, count)
        print(
            f"{layout}: {count:,} images, first vote after {first:.1f} s, {busy:.1f} s of the processor, "
            f"of which {opened:.1f} s until they are listed; {peak:.0f} MB",
            flush=True,
        )


if __name__ == "__main__":
    main()
