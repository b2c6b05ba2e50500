"""Is a PyTorch archive well-formed? An exported program is read as data by `runtimes/pt2.py`.

Covered here: the archive itself, and layouts older than the one that holds no pickles. What its
graph may call is held by `runtimes/pt2graph.py` as it is read. TorchScript comes here only where an
operator allowed it, and then runs behind the wall.
"""

from __future__ import annotations

from heliograph.core.errors import Code, HeliographError
from heliograph.registry.importing.values import Format, Staged
from heliograph.registry.importing.zips import open_zip


def check(staged: Staged) -> None:
    """Refuse an archive that is damaged or of a layout that needs pickles.

    Raises:
        HeliographError: `unsafe_format`, `model_invalid`, `model_resource_limit`.
    """
    with open_zip(staged.main) as archive:
        names = [one.filename for one in archive.infolist()]
    if staged.format is Format.PT2 and not any(one.endswith("models/model.json") for one in names):
        raise HeliographError(
            Code.UNSAFE_FORMAT,
            "This exported program is of an older layout, whose weights are pickles. Export it "
            "again with torch.export.save of PyTorch 2.9 or later.",
        )
