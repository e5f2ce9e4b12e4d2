"""Sources of samples: from addresses to the rows that the networks see. A new one is a file here and a row in known.py.

base.py       the contract
grid.py       noise of any law on the pixel grid: exact and reproducible
grid_cuda.py, philox_triton.py    the same noise, drawn on a GPU
lighting.py  noise on the pixels and along a few fixed images
splitting.py  all outcomes of splitting noise, without a key
selftest.py   the noise of a run, compared with its law
known.py      the source of a law, on a device
"""
