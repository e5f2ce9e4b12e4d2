"""Networks that take the noise out again, all with one contract: denoise(x, sigma) -> x.

base.py       the contract
names.py      every denoiser that has a name: architectures, shipped weights, untrained ones, places elsewhere
unet.py       UNet: sigma-aware, several scales, the network that dsmooth trains by default
memnet.py     MemNet: the paper's deeper blind network
stack.py      what the next two have in common
dncnn.py      DnCNN: the paper's blind residual network
ffdnet.py     FFDNet: sigma-aware, works on half-resolution sub-images
diffusion.py  Diffusion: models of noise of the diffusion family, asked at one level
diffusers_folder.py  models that Hugging Face's diffusers saved
untrained.py  total variation and non-local means of scikit-image, to be beaten
weights.py    safetensors files that know what they are
loading.py    a name, a folder or a file -> a denoiser
saving.py     a denoiser -> a file, or a folder with a model card
card.py       the model card
hub.py        repositories of the Hugging Face Hub
shipped/      weights that come with the package: listed with digests in names.py
"""
