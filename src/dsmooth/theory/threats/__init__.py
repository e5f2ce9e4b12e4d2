"""What may be done to an image beside small changes: families of transformations. A new one is a file and a row in known.py.

base.py      the contract: Threat, which encloses all its images in Boxes
covering.py  the fewest centres that are found, such that every image of a family is near one
tables.py    families that change each level of a pixel by itself, whatever its place: all their tables
contrast.py  contrast about the mean grey
gamma.py     gamma curves
shift.py     moved by whole pixels
rotation.py  rotated as Pillow does it
blur.py      Gaussian blur
jpeg.py      compressed and decompressed as Pillow does it
listed.py    images that are listed one by one
known.py     which families there are; a family from its text, or from what a record says of it
"""
