"""Long work over many images, written down as it goes.

certify.py    certify a set of images into a run folder; resume
recertify.py  the same from logged answers, under another alpha, n, bound or voting rule; no torch
"""
