"""Where images become votes.

smoothed.py      SmoothedClassifier: predict and certify
cascaded.py      CascadedClassifier: several strengths of noise as one classifier
session.py       the open door: images in, votes out, from any number of threads
dispatcher.py    the loop of a session
scheduler.py     which samples of which image come next
tally.py         one image being put to the vote
cover_tally.py   one image, and the centres of a cover of what may be made of it
chunks.py        addresses of noise: key, question, image, phase, first sample, count
sources/         where samples come from: addresses in, rows out
pipeline.py      one fixed function: rows -> denoiser -> classifier -> labels
views.py         what people are shown: noisy and denoised copies, the classifier alone
mismatches.py    what fits together in shape and hardly in sense
independence.py  whether it is one
canaries.py      whether it stays the same
engines/         where it runs: blocks of plain values in, labels out
batch_size.py    how many rows a batch has
"""
