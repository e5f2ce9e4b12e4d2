"""Families of transformations that can be certified against. A new one is a file and a row in known.py.

base.py      the contract: Threat, which encloses all its images in Boxes
covering.py  few centres such that every image of a family is near one
tables.py    families that map each pixel value independently, by lookup tables
contrast.py  contrast about the mean grey
gamma.py     gamma curves
shift.py     shifts by whole pixels
rotation.py  rotations with bilinear interpolation
blur.py      Gaussian blur
jpeg.py      JPEG compression by Pillow
listed.py    explicit lists of images
known.py     the families by name; a family from text, or from its description in a record
"""
