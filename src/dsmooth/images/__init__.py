"""Folders, zip files, data sets and single files as images on the pixel grid, with names and labels. No torch.

Whatever happens here happens before the noise, so it decides which image a certificate is about; each image carries the
list of what was done to it.

pixels.py    arrays of whole bytes, checked
sets.py      LabelledImage and ImageSet: images in a fixed order, read one at a time
decoding.py  image files as pixels: upright, in 1 or 3 channels, resized and cropped
given.py     what is handed in by programs: arrays, tensors, pictures, lists, data sets
labels.py    which files are images, and classes from a CSV file or from sub-folders
opening.py   open_images: a path, whatever lies there, as an ImageSet
sources/     one file for each kind of place that images come from
"""
