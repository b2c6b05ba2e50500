"""BentoML: a service with a root image input (the raw body), a worker process per core.

As documented: `image: PIL.Image.Image, /` takes the body itself; `workers` = cores, each with its
one default thread. BentoML opens the image lazily, so that our decoder finds the untouched bytes
behind it.
"""

from typing import Any

import bentoml
from bench.classifier import CORES, VARIANT, Classifier
from bench.decoder import from_image
from PIL.Image import Image


@bentoml.service(workers=CORES)
class Classify:
    """Decode and infer in a worker."""

    def __init__(self) -> None:
        self.classifier = Classifier(threads=1)

    @bentoml.api
    def classify(self, image: Image, /) -> dict[str, Any]:
        """Classify one picture."""
        if VARIANT == "documented":
            return dict(self.classifier.infer([from_image(image)])[0])
        image.fp.seek(0)  # type: ignore[attr-defined]
        return dict(self.classifier.classify(image.fp.read()))  # type: ignore[attr-defined]
