"""The model of a test server as a local classifier, behind the same 8 bits and the same PNG file."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image

from dsmooth.classifiers.base import Classifier, Traits
from dsmooth.services.pictures import png_of


class Local(Classifier):
    """Answers what the service answers whose server has this model, without a network, and sees the same noise.

    The noise follows from the digest of the classifier and from its preparation: both are those of the service.
    """

    name = "local"

    def __init__(self, model, remote):
        self.model, self.least_side, self._digest = model, remote.terms.least_side, remote.digest()
        self.traits = Traits(preparation=remote.traits.preparation)

    def answers(self, backend):
        def answer(images):
            return [self.vote(image) for image in images]

        return answer

    def vote(self, image):
        pixels = (image.float() * 255).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
        picture = Image.open(io.BytesIO(png_of(pixels, self.least_side)))
        return self.model(np.asarray(picture))[0][0]

    def digest(self):
        return self._digest
