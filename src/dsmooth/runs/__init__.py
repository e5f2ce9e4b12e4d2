"""Long work over many images, written down as it goes.

certify.py    certify a set of images into a run folder; resume
verify.py     check a run or a certificate file: counts, chain, votes, key, images, networks
replay.py     ask again for recorded votes
recertify.py  the same from logged answers, under another alpha, n, bound or voting rule; no torch
"""
