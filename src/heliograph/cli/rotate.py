"""`heliograph rotate-keys`: new keys for what is stored, while the server runs."""

from __future__ import annotations

from pathlib import Path

import click

from heliograph.cli.house import ACTOR, home_option, house
from heliograph.storage.rotation import purposes, renew, reroot, scrub


@click.command("rotate-keys")
@click.option(
    "--purpose", "chosen", multiple=True, help="Only this purpose's key; may be repeated."
)
@click.option(
    "--root",
    is_flag=True,
    help="Renew the root key instead: older backups no longer open without the old one.",
)
@click.option("--check", is_flag=True, help="Change nothing; say whether every key opens.")
@home_option
def rotate_keys(chosen: tuple[str, ...], home: Path | None, *, root: bool, check: bool) -> None:
    """Make new keys, wrap every data key with them and destroy the old ones.

    Everything stays readable; a run that was cut off is finished by the next one.
    """
    with house(home) as h:
        if check:
            wrong = h.ring.check()
            for one in wrong:
                click.echo(one, err=True)
            if wrong:
                raise SystemExit(1)
            click.echo(f"every key opens: {', '.join(purposes(h.ring)) or 'there is none yet'}")
            return
        if root:
            count = reroot(h.ring, actor=ACTOR)
            click.echo(f"the root key is new; it wraps {count} keys. Keep a copy of keys/root.")
        for purpose in () if root else chosen or purposes(h.ring):
            with click.progressbar(length=1, label=purpose) as bar:

                def told(done: int, of: int) -> None:
                    bar.length = of
                    bar.update(done - bar.pos)

                version, resumed = renew(h.ring, purpose, actor=ACTOR, told=told)
            click.echo(f"{purpose}: version {version}{', begun earlier' if resumed else ''}")
        scrub(h.database)
