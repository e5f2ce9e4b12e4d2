"""How networks run: from a torch module to a function of batches.

base.py      the contract
networks.py  copies of networks for inference, and their digests
folding.py   batch normalisation folded into the convolution before it
eager.py     torch on a CPU
allocator.py freed memory stays with the process, for the next tensors on a CPU
openvino.py  OpenVINO on a CPU: several times faster
cuda.py      torch on an NVIDIA GPU
measuring.py how fast each of them is on this machine
versions.py  versions of what they run with
choice.py    a backend by name, and the fastest on this machine
torchvision_ops.py  lets torchvision, and so timm and diffusers, be imported beside a torch without CUDA
"""
