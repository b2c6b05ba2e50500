"""From the settings to the certificates that are served, and what keeps them fresh."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from heliograph.core.clock import Clock, system_clock
from heliograph.core.errors import Code, HeliographError
from heliograph.edge.tls.certificates import Certificates
from heliograph.edge.tls.challenges import Challenges, Plain, application
from heliograph.edge.tls.files import Files
from heliograph.edge.tls.renewal import Issuer, Renewal, prepare
from heliograph.outbound.guard import Guard
from heliograph.outbound.guard import Policy as Reach
from heliograph.settings import Settings

_ANYBODY = Reach(any_host=True, schemes=frozenset({"https"}))


@dataclass(frozen=True, slots=True)
class Opened:
    """What one worker shows of itself.

    Attributes:
        certificates: what is served; they begin to be followed with the HTTP server.
        plain: the port in the clear, for ACME; None without.
        renewal: asks for new certificates, once started; None without ACME.
    """

    certificates: Certificates
    plain: Plain | None = None
    renewal: Renewal | None = None

    def close(self) -> None:
        """Follow and renew no longer."""
        if self.renewal is not None:
            self.renewal.close()
        self.certificates.close()


def open_tls(
    settings: Settings,
    port: int,
    told: Callable[[float], object] = lambda _: None,
    clock: Clock = system_clock,
) -> Opened:
    """The certificates of the settings, of which `tls.on` holds.

    Args:
        settings: the checked tree.
        port: of https.
        told: gets the days that the certificate is still good for.
        clock: the time.

    Raises:
        HeliographError: `validation`: they cannot be served.
    """
    tls, home = settings.tls, settings.home
    ca = home / tls.client_ca if tls.client_ca else None
    if tls.certificate:
        files = Files(home / tls.certificate, home / (tls.key or tls.certificate))
        return Opened(Certificates(files, clock, client_ca=ca, told=told))
    names = read_names(tls.acme_names)
    folder = home / "tls"
    files = prepare(folder, names, clock())
    certificates = Certificates(files, clock, client_ca=ca, renewed=True, told=told)
    answers = Challenges(folder / "challenges")
    return Opened(
        certificates,
        Plain(application(answers, names, port), settings.server.host, tls.acme_http_port),
        Renewal(
            lambda: _authority(settings, folder, answers),
            names,
            files.certificate,
            certificates,
            clock,
        ),
    )


def check(settings: Settings) -> None:
    """See that it can be served, before the first socket opens.

    Raises:
        HeliographError: `validation`, naming the setting.
        ImportError: the extra for ACME is not installed.
    """
    if open_tls(settings, 0).renewal is not None:
        importlib.import_module("heliograph.edge.tls.acme")  # it says which extra is missing


def read_names(said: str) -> Sequence[str]:
    """The setting `tls.acme_names`.

    Raises:
        HeliographError: `validation`.
    """
    names = [one.strip().lower().rstrip(".") for one in said.split(",") if one.strip()]
    if not names or any("*" in one or "/" in one for one in names):
        raise HeliographError(
            Code.VALIDATION,
            "tls.acme_names names the hosts that the certificate is for, with commas and without "
            "wildcards.",
        )
    return names


def _authority(settings: Settings, folder: Path, answers: Challenges) -> Issuer:
    from heliograph.edge.tls.acme import Authority, Directory

    tls = settings.tls
    ca = settings.home / tls.acme_ca if tls.acme_ca else None
    # Whoever brings the directory's own CA means a directory of the house; any other must be a
    # public one. Its certificate is checked, so that a name resolved anew gains nobody anything.
    allowed = _anywhere if ca else _public
    return Authority(Directory(tls.acme_directory, tls.acme_mail, ca), folder, answers, allowed)


def _public(url: str) -> None:
    asyncio.run(Guard().pin(url, _ANYBODY))


def _anywhere(url: str) -> None:
    del url
