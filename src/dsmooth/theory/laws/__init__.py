"""Laws of noise: what is added to an image, and how far that protects. A new one is a file here and a row in known.py.

base.py      the contract: Law, and the two kinds there are: RandomLaw (GridLaw) and EnumeratedLaw
gaussian.py  independent Gaussian noise, certified in l2
uniform.py   independent uniform noise, certified in l1
lighting.py  Gaussian noise on pixels, brightness, colour and ramps, certified in l2 and along them
splitting.py  splitting noise: all outcomes are asked for, certified in l1 without chance
known.py     which laws there are; a law from what a record says of it
"""
