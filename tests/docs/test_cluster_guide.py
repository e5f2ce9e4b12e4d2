"""The files of the guide to clusters do what they say, where a cluster sets its variables: on few small images."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest

from dsmooth.records.store import read_run
from small_runs import told
from support import ROOT, environment

pytestmark = pytest.mark.slow  # each shard is a process

GUIDE = (ROOT / "docs" / "guide" / "cluster.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", GUIDE, re.M | re.S)

PROGRAM = """#!{python}
import sys
from pathlib import Path
here = {{"photos/": "images.npz", "timm:resnet50": "import:linear_here:model", "100000": "40"}}
line = [here.get(each, each) for each in sys.argv[1:]]
line += ["-d", "none", "--seed", "5"] if line[0] == "certify" else []
sys.argv[1:] = line
from dsmooth.cli import main
main()
"""
"""`dsmooth`, of small networks and images in place of those of the guide."""

SBATCH = """#!{python}
import os, subprocess, sys
held = [each for each in sys.argv[1:] if not each.startswith("--")]
wrapped = "--wrap" in sys.argv
needed = [each.partition("afterok:")[2] for each in sys.argv if "afterok:" in each]
assert all(number in open("jobs").read().split() for number in needed), needed
if wrapped:
    subprocess.run(["bash", "-c", held[-1]], stdout=sys.stderr, check=True)
else:
    text = open(held[-1]).read()
    assert "#SBATCH --array=0-15\\n" in text and "#SBATCH --cpus-per-task=4\\n" in text
    for task in (7, 8):
        variables = {{f"SLURM_ARRAY_TASK_{{name}}": str(value) for name, value in [("ID", task), ("COUNT", 2), ("MIN", 7)]}}
        env = {{**os.environ, **variables, "SLURM_CPUS_PER_TASK": "1"}}
        subprocess.run(["bash", held[-1]], env=env, stdout=sys.stderr, check=True)
number = str(len(open("jobs").read().split()) + 100)
open("jobs", "a").write(number + "\\n")
print(number)
"""
"""`sbatch`, which does a job at once and says its number; of an array, tasks 7 and 8 of 2."""

PARALLEL = """#!{python}
import subprocess, sys
assert open(sys.argv[sys.argv.index("--sshloginfile") + 1]).read() == "one\\ntwo\\n"
line = sys.argv[sys.argv.index("bash"):]
for number in list(sys.stdin.read().split())[:2]:
    subprocess.run([each.replace("{{}}", number) for each in line], check=True)
"""
TORCHRUN = """#!{python}
import os, subprocess, sys
line = sys.argv[sys.argv.index("bash"):]
for rank in range(2):
    subprocess.run(line, env={{**os.environ, "RANK": str(rank), "WORLD_SIZE": "2"}}, check=True)
"""
SRUN = TORCHRUN.replace("RANK", "SLURM_PROCID").replace("WORLD_SIZE", "SLURM_NTASKS")


def block(language, words):
    """The block of this language in which these words are."""
    (found,) = (text for kind, text in BLOCKS if kind == language and words in text)
    return found


@pytest.fixture
def place(tmp_path):
    """A folder with certify.sh of the guide, a few images, and programs by the names of those that the guide runs."""
    np.savez(tmp_path / "images.npz", images=np.random.default_rng(0).integers(0, 256, (5, 3, 4, 3), dtype=np.uint8))
    (tmp_path / "linear_here.py").write_text("from support import Linear\ndef model():\n    return Linear()\n")
    (tmp_path / "certify.sh").write_text(block("bash", "exec dsmooth certify"))
    (tmp_path / "shards.sbatch").write_text(block("bash", "#SBATCH"))
    (tmp_path / "jobs").touch()
    (tmp_path / "hosts.txt").write_text("one\ntwo\n")
    programs = {"dsmooth": PROGRAM, "sbatch": SBATCH, "srun": SRUN, "parallel": PARALLEL, "torchrun": TORCHRUN}
    (tmp_path / "bin").mkdir()
    for name, text in programs.items():
        (tmp_path / "bin" / name).write_text(text.format(python=sys.executable))
        (tmp_path / "bin" / name).chmod(0o755)
    return tmp_path


def run(place, line, **variables):
    env = {**environment(place), "PATH": f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}", **variables}
    done = subprocess.run(["bash", "-c", line], cwd=place, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def shards(place):
    return sorted(path.name for path in (place / "runs" / "large" / "shards").iterdir())


def test_slurm_plans_does_and_merges(place):
    run(place, block("bash", "sbatch --parsable"))
    merged = read_run(place / "runs" / "large")
    assert merged.key is not None
    run(place, "dsmooth certify photos/ -c timm:resnet50 --n 100000 --out alone/run")
    assert told(merged) == told(read_run(place / "alone" / "run"))


def test_by_hand(place):
    lines = block("bash", "--shard 3/16").replace("dsmooth merge runs/large", "")
    run(place, lines)
    assert shards(place) == ["03-of-16"]


def test_tasks_of_torchrun_srun_and_gnu_parallel(place):
    run(place, "bash certify.sh --plan")
    run(place, block("bash", "torchrun --no-python --nnodes=4 --nproc-per-node=1"))
    assert shards(place) == ["0-of-2", "1-of-2"]
    (srun,) = re.findall(r"`(srun .*)`", GUIDE)
    run(place, srun)
    assert shards(place) == ["0-of-2", "1-of-2"]
    run(place, block("bash", "parallel"))
    assert shards(place) == ["0-of-2", "00-of-16", "01-of-16", "1-of-2"]


def test_kubernetes_and_aws_batch(place):
    job = pytest.importorskip("yaml").safe_load(block("yaml", "kind: Job"))
    spec = job["spec"]
    assert spec["completionMode"] == "Indexed"
    (container,) = spec["template"]["spec"]["containers"]
    assert {each["name"] for each in container["volumeMounts"]} == {
        each["name"] for each in spec["template"]["spec"]["volumes"]
    }
    submitted = json.loads(block("json", "arrayProperties"))
    size = submitted["arrayProperties"]["size"]
    assert container["command"][-1] == f"auto/{spec['completions']}" == f"auto/{size}"
    run(place, "bash certify.sh --plan")
    for line, variables in (
        (container["command"], {"JOB_COMPLETION_INDEX": "2"}),
        (
            submitted["containerOverrides"]["command"],
            {"AWS_BATCH_JOB_ARRAY_INDEX": "1", "AWS_BATCH_JOB_ARRAY_SIZE": str(size)},
        ),
    ):
        run(place, " ".join(line).replace("/data", str(place)), **variables)
    assert shards(place) == ["01-of-16", "02-of-16"]
    for number, name in ((1, "01-of-16"), (2, "02-of-16")):
        held = read_run(place / "runs" / "large" / "shards" / name).records
        assert [record.index for record in held] == [number]
