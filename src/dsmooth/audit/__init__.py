"""Attack what was certified: a certified image that confidently answers otherwise inside its ball is a bug.

ball.py      the nearest image of whole bytes that is truly inside a ball
pgd.py       projected gradient ascent through denoiser and classifier, in expectation over the noise
parameters.py  the worst image of a family, by a search over its parameters
attack.py    a run attacked, image by image, resumable
findings.py  what was found, as it is written down (no torch)
"""
