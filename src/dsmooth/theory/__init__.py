"""From votes to certificates: pure functions of numbers (NumPy and SciPy; no torch, no files, no clock).

votes.py       counts of answers by label
bounds.py      Clopper-Pearson bounds on a probability, rounded to the safe side
laws/          noise distributions (laws), and the radius that each justifies
grid.py        the table of a law on the pixel grid: exact integer thresholds
certifiers.py  votes in, certificate out
top_k.py       top-k certificates: the answer stays among the k most probable labels
rules.py       certifiers by name
cascade.py     several noise levels as one classifier
changed.py     a changed classifier, from the former one's votes and pairs of votes of both
prediction.py  votes in, prediction out
modes.py       how the number of votes is decided
stopping.py    early stopping; mixture.py: anytime-valid evidence
rivals.py      the same with a bound on the strongest rival
pilot.py       the number of votes chosen from the selection votes; predictive.py: predicting votes to come
threats/       families of transformations, and their covers; covers.py: a certificate for a whole family
accuracy.py    from the certified images of a sample to the accuracy of the population
comparison.py  two runs on the same images: paired differences, exact sign test
"""
