"""From votes to certificates: pure functions of numbers (NumPy and SciPy; no torch, no files, no clock).

bounds.py       Clopper-Pearson bounds on a probability, rounded to the safe side
noises.py       the law of the noise, and the radius which that law justifies
grid.py         the same law on the pixel grid, as exact integer thresholds
certificate.py  votes in, certificate or prediction out
accuracy.py     from the certified images of a sample to the accuracy of the population
"""
