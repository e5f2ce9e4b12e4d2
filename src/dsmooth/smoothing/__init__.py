"""From images to votes.

smoothed.py      SmoothedClassifier: predict and certify
cascaded.py      CascadedClassifier: several strengths of noise as one classifier
session.py       images in, votes out, from any number of threads
dispatcher.py    the loop of a session
scheduler.py     which samples of which image come next
tally.py         the votes of one image as they come
cover_tally.py   the votes of one image and of the centres of a cover of its transformations
chunks.py        addresses of noise: key, question, image, phase, first sample, count
sources/         where samples come from: addresses in, rows out
pipeline.py      one fixed function: rows -> denoiser -> classifier -> labels
views.py         for reports: noisy and denoised copies, the classifier alone
mismatches.py    warnings about denoisers, classifiers and labels that hardly go together
independence.py  whether the pipeline is one function, row by row
canaries.py      whether it stays the same
engines/         where it runs: blocks of plain values in, labels out
batch_size.py    how many rows a batch has
"""
