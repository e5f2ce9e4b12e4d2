"""Folders, zip files, data sets and single files as images on the pixel grid, with names and labels. No torch.

All of this comes before the noise, so it decides which image a certificate is about; each image carries the list of its
preprocessing steps.

pixels.py    arrays of 8-bit pixels, checked
sets.py      LabelledImage and ImageSet: images in a fixed order, read one at a time
decoding.py  image files as pixels: upright, in 1 or 3 channels, resized and cropped
given.py     images passed from Python: arrays, tensors, PIL images, lists, data sets
labels.py    which files are images, and classes from a CSV file or from subfolders
opening.py   open_images: any supported path as an ImageSet
sources/     one file for each kind of image source
"""
