"""Long work over many images, recorded as it proceeds.

certify.py    certify a set of images into a run folder; resume
looks.py      noisy and denoised images as the classifier saw them, as pictures for the report
shards.py     one run by many machines: planned, done in shards, merged
recording.py  from an image that has all its votes to the record of them
verify.py     check a run or a certificate file: claims, key, images, labels, completeness
recount.py    a record's claim, recomputed from its packed votes
covers.py     covers of families of images, recomputed
replay.py     recompute recorded votes, and judge the result
identity.py   whether the networks at hand are those that a file names
agreement.py  what rounding may change, and what a replay would have missed
cascade.py    what the votes of a cascade's scales certify together
changed.py    certify a changed classifier from an earlier run and pairs of votes
again.py      certify again what somebody else certified
together.py   what several runs certify together, with all that may be wrong charged against it
weaker.py     claims verified only within a smaller radius than they state
witnessing.py  a run that waits for its witness, and what a witness proves
recertify.py  the same from logged answers, under another alpha, n, bound or voting rule; no torch
"""
