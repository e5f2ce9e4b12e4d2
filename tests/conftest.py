import os

from hypothesis import settings

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")

# a busy machine is no failure, and a failure must come again
settings.register_profile("house", deadline=None, derandomize=True)
settings.load_profile("house")
