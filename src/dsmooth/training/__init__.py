"""Train a denoiser, or a classifier under noise, with one loop.

plan.py         how weights move: optimiser, learning rate, averaging, length
optimizers.py   the optimisers that a plan names
muon.py         Muon: momentum whose matrices are made orthogonal
loop.py         the loop, for any network and any loss
checkpoints.py  the folder of a training: what it is, checkpoints, the course so far
held_out.py     which images are held out for validation
patches.py      images of any size: random crops, decided by seed and step alone
corruptions.py  the noise as the networks see it
batches.py      which images a step uses, and under how much noise
prefetch.py     batches prepared in the background
resident.py     images of one size: all on the device, shifted and mirrored there
objectives.py   objectives: squared error, the classifier's own answers, true labels, weighted sums
losses.py       the losses of an objective
surrogates.py   the frozen classifiers used by objectives and validation
judging.py      PSNR and accuracy on noisy images, for held-out images and for measure.py
usefulness.py   how far a trained denoiser is from a useful one
measure.py      a denoiser measured: PSNR, SSIM, accuracy, a picture
learning_curve.py loss, PSNR and accuracy as a picture
recipe.py       everything that decides a denoiser's weights: Recipe
denoising.py    the training of a denoiser
classifying.py  the training of a classifier on noisy images: ClassifierRecipe, train_classifier
"""
