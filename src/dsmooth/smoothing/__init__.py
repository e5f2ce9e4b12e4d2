"""Where images become votes.

chunks.py     addresses of noise: key, image, phase, first sample, count
sampler.py    the noise at an address: exact, on the pixel grid, the same whoever asks
selftest.py   a test of the noise that a run really uses
pipeline.py   one fixed function: noisy pixels -> denoiser -> classifier -> labels
poll.py       one image being put to the vote: what it wants, what it has counted
scheduler.py  many images share batches of one shape; memory does not grow with n
smoothed.py   SmoothedClassifier: predict and certify
"""
