"""Writes schema1/ and schema2/: small runs with the code that wrote those versions of the record.

    python tests/golden/make_records.py ../at/c4edbec schema1/fixed            version 0.1.0
    python tests/golden/make_records.py ../at/fd83c90 schema1/curve schema1/service
    python tests/golden/make_records.py ../at/4b33cc3 schema2/fixed schema2/curve schema2/service

The first argument is a checkout of that commit. schema2/certificate.json is that of the first image of schema2/fixed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
TESTS = HERE.parent
sys.path.insert(0, str(TESTS))

from services.servers import Brain, Server, brightness  # noqa: E402

CERTIFIED = "schema2/fixed"
OPTIONS = {
    "fixed": ["--n", "40"],
    "curve": ["--n", "200", "--mode", "curve", "--radii", "0", "0.02", "0.2"],
    "service": ["--n", "30"],
}


def make(checkout: Path, name: str) -> None:
    """One run folder, in place of the one that is there."""
    schema, kind = name.split("/")
    with (
        tempfile.TemporaryDirectory() as folder,
        Server(Brain(brightness)) if kind == "service" else nullcontext() as server,
    ):
        images, rule, run = (Path(folder) / part for part in ("images.npz", "rule.json", "run"))
        pixels = np.random.default_rng(0).integers(96, 160, (3, 3, 5, 3)).astype(np.uint8)
        np.savez(images, images=pixels, labels=[0, 1, 1])
        rule.write_text(json.dumps({"dark": ["dark"], "light": ["light"]}))
        asked = ["-c", "import:support:Linear"]
        if server is not None:
            asked = ["-c", f"{server.url}/x", "--label-map", str(rule), "--yes"]
        if name == CERTIFIED:
            asked += ["--certificates", f"{folder}/certificates"]
        command = [sys.executable, "-m", "dsmooth", "certify", str(images), *asked, *OPTIONS[kind]]
        subprocess.run(
            [*command, "--sigma", "0.25", "--n0", "5", "--alpha", "0.05", "--out", str(run)],
            cwd=TESTS,
            env={**os.environ, "PYTHONPATH": f"{checkout / 'src'}{os.pathsep}{TESTS}"},
            check=True,
        )
        shutil.rmtree(HERE / name, ignore_errors=True)
        shutil.copytree(run, HERE / name, ignore=shutil.ignore_patterns("lock"))
        shutil.copy(images, HERE / schema)
        if name == CERTIFIED:
            shutil.copy(Path(folder) / "certificates" / "000000.json", HERE / schema / "certificate.json")


if __name__ == "__main__":
    for wanted in sys.argv[2:]:
        make(Path(sys.argv[1]).resolve(), wanted)
