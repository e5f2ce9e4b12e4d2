"""Teach a denoiser: one readable loop.

patches.py  random crops of images, decided by seed and step alone
loop.py     optimiser, schedule, averaging, checkpoints, resume
"""
