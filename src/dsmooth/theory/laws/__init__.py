"""Noise distributions (laws) and the radii they certify. A new one is a file here and a row in known.py.

base.py       the contract: Law, and the two kinds there are: RandomLaw (GridLaw) and EnumeratedLaw
gaussian.py   independent Gaussian noise, certified in l2
uniform.py    independent uniform noise, certified in l1
lighting.py   Gaussian noise on pixels, brightness, colour and ramps, certified in l2 and along them
splitting.py  splitting noise: all outcomes are evaluated, certified in l1 deterministically
known.py      the laws by name; a law from its description in a record
"""
