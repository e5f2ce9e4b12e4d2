"""Long work over many images, written down as it goes.

certify.py    certify a set of images into a run folder; resume
looks.py      what the classifier was shown, as pictures for the report
shards.py     one run by many machines: planned, done in shards, merged
recording.py  from an image that has all its votes to the record of them
verify.py     check a run or a certificate file: claims, key, images, labels, completeness
recount.py    a record's claim, made again from its packed votes
covers.py     covers of families of images, made again
replay.py     ask again for recorded votes, and judge what comes
identity.py   whether the networks at hand are those that a file names
agreement.py  what honest rounding may change, and what a replay would have missed
cascade.py    what the votes of a cascade's scales promise together
again.py      certify anew what somebody else certified
weaker.py     claims of which less was verified than they say
witnessing.py  a run that waits for its witness, and what a witness proves
recertify.py  the same from logged answers, under another alpha, n, bound or voting rule; no torch
"""
