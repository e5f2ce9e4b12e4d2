import os
import signal

import pytest
from hypothesis import settings

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")

# a shell that starts the tests in the background has them ignore this, and so would the programs that they interrupt
signal.signal(signal.SIGINT, signal.default_int_handler)

# a busy machine is no failure, and a failure must come again
settings.register_profile("house", deadline=None, derandomize=True)
settings.load_profile("house")


def pytest_collection_modifyitems(items):
    """Slow tests get an hour: forty million votes take minutes, and on a busy machine many."""
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.timeout(3600))
