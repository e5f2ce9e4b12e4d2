"""The program `dsmooth serve --engine ray`: answers, also while a worker is killed, and leaves no process behind."""

import os
import signal
import subprocess
import time
import urllib.request
from importlib.util import find_spec

import pytest

from cluster import alive, descendants, workers_of
from serve.running import picture
from serve.test_core import COMMAND
from support import environment

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not find_spec("ray"), reason="needs the extra ray")]


def test_the_program_serves_by_workers_of_ray_and_ends_with_0_on_sigterm(tmp_path):
    line = [*COMMAND[:-1], "2", "--engine", "ray", "--record", str(tmp_path / "record")]
    with subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(tmp_path)
    ) as program:
        try:
            assert "samples per second" in program.stdout.readline()
            address = program.stdout.readline().split()[2].rstrip(",")

            def asked(spot, n=100):
                with urllib.request.urlopen(f"{address}/v1/certify?n={n}", picture(200, spot=spot), timeout=120) as got:
                    return got.headers["Dsmooth-Label"]

            labels = [asked(0)]
            while len(workers_of(program.pid)) < 2:
                time.sleep(0.1)
            os.kill(workers_of(program.pid)[0], signal.SIGKILL)
            labels += [asked(spot, n=2000) for spot in range(1, 4)]
            started = descendants(program.pid)
        finally:
            program.send_signal(signal.SIGTERM)
        _, log = program.communicate(timeout=120)
        assert program.returncode == 0, log
    assert "Traceback" not in log
    assert "ended (" in log
    assert labels == ["1"] * 4
    assert len(list((tmp_path / "record").rglob("*.json"))) == 4
    until = time.monotonic() + 120
    while alive(started) and time.monotonic() < until:
        time.sleep(0.5)
    assert not alive(started)
