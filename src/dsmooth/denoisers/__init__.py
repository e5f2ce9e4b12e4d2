"""Denoisers, all with one contract: denoise(x, sigma) -> x.

base.py       the contract
names.py      every denoiser that has a name: architectures, shipped weights, untrained ones, places elsewhere
unet.py       UNet: sigma-aware, several scales, the network that dsmooth trains by default
unet_by_noise.py  UNetByNoise: the finest scales twice, for weak noise and for strong
memnet.py     MemNet: the paper's deeper blind network
stack.py      what the next two have in common
dncnn.py      DnCNN: the paper's blind residual network
ffdnet.py     FFDNet: sigma-aware, works on half-resolution sub-images
diffusion.py  Diffusion: diffusion models, evaluated once at one noise level
diffusers_folder.py  models saved by Hugging Face's diffusers
edm_file.py   networks of EDM, as safetensors
song_unet.py  the architectures of these, DDPM++ and NCSN++
imported.py   denoisers made by the user's own code
untrained.py  total variation and non-local means of scikit-image, as baselines
weights.py    self-describing safetensors files
loading.py    a name, a folder or a file -> a denoiser
saving.py     a denoiser -> a file, or a folder with a model card
card.py       the model card
trained_for.py  the noise and the recipe that a denoiser was trained for
hub.py        repositories of the Hugging Face Hub
shipped/      weights that come with the package: listed with digests in names.py
"""
