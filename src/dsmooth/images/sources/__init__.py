"""Places that images come from, one file for each kind; images.opening lists them.

base.py     the contract
cifar.py    the binary version of CIFAR-10
npz.py      NumPy arrays in one .npz
zipped.py   image files in a zip
folder.py   image files in a folder
single.py   one image file
"""
