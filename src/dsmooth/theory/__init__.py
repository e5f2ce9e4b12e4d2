"""From votes to certificates: pure functions of numbers (NumPy and SciPy; no torch, no files, no clock).

votes.py       how many answers went to each label
bounds.py      Clopper-Pearson bounds on a probability, rounded to the safe side
laws/          the laws of noise, and the radius which each justifies
grid.py        the table of a law on the pixel grid: exact integer thresholds
certifiers.py  votes in, certificate out
top_k.py       the same for a weaker claim: the answer stays among the first few
rules.py       certifiers by name
cascade.py     several strengths of noise as one classifier
prediction.py  votes in, prediction out
modes.py       how the number of votes is decided
stopping.py    rules that look at the votes on the way; mixture.py: the evidence that may be looked at at any time
rivals.py      the same with a bound on the strongest rival
pilot.py       the number of votes sized by the selection votes; predictive.py: a guess at the votes to come
threats/       families of transformations, and their covers; covers.py: a certificate for a whole family
accuracy.py    from the certified images of a sample to the accuracy of the population
"""
