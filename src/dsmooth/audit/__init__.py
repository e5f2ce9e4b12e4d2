"""Attack what was certified: a confident different answer inside a certified ball is a bug.

ball.py      the nearest 8-bit image that is strictly inside a ball
pgd.py       projected gradient ascent through denoiser and classifier, in expectation over the noise
parameters.py  the worst image of a family, by a search over its parameters
attack.py    a run attacked, image by image, resumable
findings.py  what was found, as it is stored (no torch)
"""
