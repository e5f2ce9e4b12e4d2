"""Images travel to each machine once: they lie in the object store of the cluster, and calls name them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final

from dsmooth.images.pixels import Pixels
from dsmooth.smoothing.engines.base import Block
from dsmooth.smoothing.engines.remote import packed

__all__ = ["ObjectStore"]

_IMAGES: Final = 512  # that stay there


class ObjectStore:
    """The images of the last blocks."""

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        self._images: OrderedDict[str, Any] = OrderedDict()

    def call(self, method: Any, blocks: Sequence[Block]) -> Any:
        """The result to come of a method of a RemoteWorker that takes blocks."""
        sent, images = packed(blocks)
        return method.remote(sent, *(self._put(digest, pixels) for digest, pixels in images.items()))

    def _put(self, digest: str, pixels: Pixels) -> Any:
        if digest not in self._images:
            self._images[digest] = self._ray.put(pixels)
            if len(self._images) > _IMAGES:
                self._images.popitem(last=False)
        self._images.move_to_end(digest)
        return self._images[digest]
