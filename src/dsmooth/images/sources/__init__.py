"""Places that images come from, one file for each kind; images.opening lists them.

base.py           the contract
cifar.py          the binary version of CIFAR-10
npz.py            NumPy arrays in one .npz
zipped.py         image files in a zip
parquet.py        data sets of Hugging Face as Parquet files
webdataset.py     image files in tars, with their classes beside them
tar_index.py      where the files of a tar lie
tiny_imagenet.py  Tiny ImageNet as it is distributed
imagenet.py       ImageNet's validation images, beside their devkit or class index
imagefolder.py    data sets of Hugging Face as image files, with their metadata
splits.py         which part of a data set is meant
folder.py         image files in a folder
single.py         one image file
"""
