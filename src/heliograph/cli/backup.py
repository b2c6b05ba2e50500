"""`heliograph backup` and `restore`: everything in one file, and back."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import click

from heliograph.cli.house import ACTOR, home_option, house
from heliograph.core.clock import system_clock
from heliograph.core.errors import HeliographError
from heliograph.core.events import Act, Event
from heliograph.settings import home_folder, read_settings
from heliograph.storage.database import open_database
from heliograph.storage.erasures import FILE as ERASED
from heliograph.storage.erasures import erased
from heliograph.storage.lock import Lock, Passphrase, Recipient
from heliograph.storage.migrations import migrate
from heliograph.storage.objects import open_objects
from heliograph.storage.restoring import Restored, Target
from heliograph.storage.restoring import restore as put_back
from heliograph.storage.root import Roots

_FILE = click.Path(dir_okay=False, path_type=Path)
_THERE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("file", type=_FILE)
@click.option("--passphrase", is_flag=True, help="Lock it with a passphrase, which is asked for.")
@click.option("--passphrase-file", type=_THERE, help="Lock it with the first line of a file.")
@click.option("--recipient", type=_THERE, help="Lock it for the holder of this X25519 key (PEM).")
@click.option(
    "--with-root-key",
    is_flag=True,
    help="Also the keys that open what is sealed: whoever has the file has everything.",
)
@home_option
def backup(
    file: Path,
    home: Path | None,
    passphrase_file: Path | None,
    recipient: Path | None,
    *,
    passphrase: bool,
    with_root_key: bool,
) -> None:
    """Write everything that this server knows into FILE, while it runs.

    The root key is not in it unless asked for: keep keys/root and audit/key elsewhere.
    """
    lock = _lock(passphrase, passphrase_file, recipient, again=True)
    with house(home) as h, _bar("backing up") as told:
        made = h.backup.make(file, actor=ACTOR, lock=lock, with_root_key=with_root_key, told=told)
    click.echo(
        f"{file}: {made.rows:,} rows, {made.blobs:,} stored files, {made.files:,} files of the "
        f"data folder; {made.bytes:,} bytes"
    )
    if made.lost:
        click.echo(f"{len(made.lost)} stored files were missing or damaged: {made.lost}", err=True)
        raise SystemExit(1)
    if lock is None:
        click.echo("It is not locked: see --passphrase and --recipient.", err=True)


@click.command()
@click.argument("file", type=_THERE)
@click.option("--passphrase", is_flag=True, help="Ask for the passphrase that it is locked with.")
@click.option("--passphrase-file", type=_THERE, help="Take the first line of a file for it.")
@click.option("--identity", type=_THERE, help="The X25519 private key that it is locked for (PEM).")
@click.option("--replace", is_flag=True, help="Delete what is there.")
@click.option(
    "--erased",
    "list_",
    type=_THERE,
    help="Who was erased since; by default erased.jsonl of the data folder.",
)
@home_option
def restore(
    file: Path,
    home: Path | None,
    passphrase_file: Path | None,
    identity: Path | None,
    list_: Path | None,
    *,
    passphrase: bool,
    replace: bool,
) -> None:
    """Get a backup back from FILE, into an empty data folder and database.

    Stop the server first. The database is the one of the settings, of either kind.
    """
    lock = _lock(passphrase, passphrase_file, identity, again=False)
    folder = home_folder(str(home) if home else None)
    done = _restore(file, folder, lock, list_ or folder / ERASED, replace=replace)
    made = datetime.fromtimestamp(done.created_ms / 1000, UTC)
    click.echo(
        f"restored what was there at {made:%Y-%m-%d %H:%M:%S} UTC: {done.rows:,} rows, "
        f"{done.blobs:,} stored files; {done.erased} erasures done again"
    )
    if done.sealed and Roots(folder).first() is None:
        click.echo("Bring back keys/root before the server starts.", err=True)
    facts = {"rows": done.rows, "blobs": done.blobs, "erased": done.erased}
    try:
        with house(home) as h:
            # Whose data were erased after the backup was made: they are not back either.
            for one in erased(list_ or folder / ERASED):
                h.database.write(partial(h.privacy.erase_again, tenant=one))
            event = Event(Act.BACKUP_RESTORED, ACTOR, facts=facts)
            h.database.write(lambda connection: h.audit.append(connection, event))
    except HeliographError as error:
        # All is back, and the house does not open: its keys were not brought yet.
        click.echo(f"[{error.code}] {error.detail}", err=True)
        raise SystemExit(1) from error


def _restore(
    file: Path, folder: Path, lock: Lock | None, list_: Path, *, replace: bool
) -> Restored:
    folder.mkdir(parents=True, exist_ok=True)
    settings = read_settings(folder)
    database = open_database(settings.storage.url, folder)
    try:
        migrate(database)
        objects = open_objects(settings.storage.blobs, folder)
        target = Target(database, folder, objects, system_clock)
        gone = erased(list_)
        with _bar("restoring") as told:
            return put_back(file, target, lock=lock, replace=replace, erased=gone, told=told)
    finally:
        database.close()


def _lock(passphrase: bool, file: Path | None, key: Path | None, *, again: bool) -> Lock | None:
    if passphrase + (file is not None) + (key is not None) > 1:
        raise click.UsageError("A backup has one lock: a passphrase, or one X25519 key.")
    if key is not None:
        return Recipient(key)
    if file is not None:
        return Passphrase(file.read_text("utf-8").split("\n")[0])
    if passphrase:
        return Passphrase(click.prompt("Passphrase", hide_input=True, confirmation_prompt=again))
    return None


@contextmanager
def _bar(label: str) -> Generator[Callable[[int, int], None]]:
    with click.progressbar(length=1, label=label) as bar:

        def told(done: int, of: int) -> None:
            bar.length = of
            bar.update(done - bar.pos)

        yield told
