"""Long work over many images, written down as it goes.

certify.py  certify a set of images into a run folder; resume
"""
