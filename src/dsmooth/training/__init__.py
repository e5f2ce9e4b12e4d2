"""Teach a denoiser, or a classifier under noise: one readable loop.

plan.py         how weights move: optimiser, learning rate, averaging, length
optimizers.py   the optimisers that a plan names
muon.py         Muon: momentum whose matrices are made orthogonal
loop.py         the loop, for any network and any loss
checkpoints.py  the folder of a training: what it is, checkpoints, the course so far
held_out.py     which images judge a training
patches.py      images of any size: random crops, decided by seed and step alone
corruptions.py  the noise as the networks see it
batches.py      which images a step sees, and under how much noise
prefetch.py     batches that are prepared while the networks work on earlier ones
resident.py     images of one size: all on the device, shifted and mirrored there
objectives.py   what is good: squared error, the classifier's own answers, true labels, sums of them
losses.py       the losses that an objective weighs
surrogates.py   the frozen classifiers that objectives and judgement ask
judging.py      PSNR and accuracy on images with noise, for held-out images and for measure.py
usefulness.py   how far a trained denoiser is from a useful one
measure.py      a denoiser measured: PSNR, SSIM, accuracy, a picture
learning_curve.py loss, PSNR and accuracy as a picture
recipe.py       everything that decides a denoiser's weights: Recipe
denoising.py    the training of a denoiser
classifying.py  the training of a classifier on noisy images: ClassifierRecipe, train_classifier
"""
