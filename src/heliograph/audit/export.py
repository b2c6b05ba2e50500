"""An export: the whole log in a folder or a zip file, for whoever verifies it elsewhere.

    audit.jsonl              one event a line: seq, body, prev, hash
    checkpoints/00000001 …   the signed notes
    key.pub                  the public key; a verifier trusts only one that came another way

`audit_verify.py` (that is `verifier.py`, a script without dependencies) checks it.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from heliograph.audit.checkpoints import sync_folder
from heliograph.audit.service import Audit
from heliograph.audit.verifier import EVENTS, NOTES
from heliograph.core.errors import Code, HeliographError
from heliograph.core.events import Act, Event


def export(
    audit: Audit, path: Path, actor: str, told: Callable[[int, int], None] | None = None
) -> int:
    """Write an export; the log itself tells of it afterwards.

    Args:
        audit: the log.
        path: a name that is not taken: a zip file if it ends in `.zip`, else a folder.
        actor: who exports.
        told: is given the number of events so far and of all, now and then.

    Returns:
        How many events were written.

    Raises:
        HeliographError: `name_taken`, `storage_full`.
    """
    if path.exists():
        raise HeliographError(Code.NAME_TAKEN, f"{path.name} is there already; choose another.")
    try:
        scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))  # mode 0700
        try:
            count = _fill(audit, scratch, told)
            _place(scratch, path)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    except OSError as error:
        raise HeliographError(
            Code.STORAGE_FULL, f"{path.name} cannot be written: {error.strerror}."
        ) from error
    audit.record(Event(Act.AUDIT_EXPORTED, actor, facts={"events": count}))
    return count


def _fill(audit: Audit, folder: Path, told: Callable[[int, int], None] | None) -> int:
    # Checkpoints first: none of them may be over more events than are written below.
    (folder / NOTES).mkdir()
    for number, note in audit.seals.all():
        (folder / NOTES / f"{number:08}").write_text(note, "utf-8")
    (folder / "key.pub").write_text(audit.seals.key + "\n", "ascii")
    total, count = audit.count(), 0
    with (folder / EVENTS).open("w", encoding="ascii") as file:
        for count, row in enumerate(audit.rows(), 1):
            file.write(json.dumps(row._asdict()) + "\n")
            if told is not None and count % 1000 == 0:
                told(count, total)
        file.flush()
        os.fsync(file.fileno())
    return count


def _place(folder: Path, path: Path) -> None:
    if path.suffix != ".zip":
        folder.rename(path)
    else:
        packed = folder / "packed.zip"
        inside = sorted(one for one in folder.rglob("*") if one.is_file())
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for one in inside:
                archive.write(one, str(one.relative_to(folder)))
        packed.chmod(0o600)
        packed.rename(path)
    sync_folder(path.parent)
