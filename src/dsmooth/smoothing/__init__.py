"""Where images become votes.

chunks.py     addresses of noise: key, image, phase, first sample, count
sampler.py    the noise at an address: exact, on the pixel grid, the same whoever asks
cuda_sampler.py, philox_triton.py    the same noise, drawn on a GPU
selftest.py   the noise of a run, compared with its law
pipeline.py   one fixed function: noisy pixels -> denoiser -> classifier -> labels
independence.py  whether it is one
batch_size.py how many rows a batch should have, measured
tally.py       one image being put to the vote
batches.py    which rows the next batch has
scheduler.py  many images share batches of one shape; memory does not grow with n
smoothed.py   SmoothedClassifier: predict and certify
"""
