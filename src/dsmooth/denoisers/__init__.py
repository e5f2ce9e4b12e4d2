"""Networks that take the noise out again, all with one contract: denoise(x, sigma) -> x.

base.py     the contract
unet.py     UNet: sigma-aware, several scales, the network that dsmooth trains by default
memnet.py   MemNet: the paper's deeper blind network
stack.py    what the next two have in common
dncnn.py    DnCNN: the paper's blind residual network
ffdnet.py   FFDNet: sigma-aware, works on half-resolution sub-images
untrained.py  total variation and non-local means of scikit-image, to be beaten
pretrained.py  folders with a model card, repositories of the Hugging Face Hub
weights.py  safetensors files that know what they are; load_denoiser(name, folder or file)
shipped/    weights that come with the package: listed with digests in weights.py
"""
