"""The settings tree, a branch per concern, and reading it; what each means stands beside it.

`docs/reference/settings.md` is made from these classes.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from heliograph.core import settings as core_settings
from heliograph.core.errors import Code, HeliographError
from heliograph.core.exposure import check_exposure
from heliograph.core.settings import Branch

_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


class ServerSettings(Branch, frozen=True):
    """The HTTP server.

    Attributes:
        host: address to listen on; anything but loopback needs TLS, or `proxied`.
        port: of HTTP; 0 picks a free one.
        grpc_port: of gRPC; 0 picks a free one, -1 switches gRPC off.
        workers: processes that share the port.
        open: no key needed; only on loopback.
        hosts: names accepted in the Host header besides localhost and addresses, with commas;
            `*` for any.
        connections: most connections open at once in one worker.
        tensor_bytes: largest body of a tensor call, over HTTP or gRPC.
        head_seconds: in which the headers of a request must arrive.
        body_rate: least bytes per second of a body.
        grace: seconds between saying "not ready" and closing the port at a stop.
        cors: origins, with commas, whose pages may call and read the answers, such as
            `https://app.example`; `*` for any; empty for none but this server's own.
        proxied: a proxy that speaks TLS is in front: serve in the clear to others than loopback.
        proxies: addresses and networks, with commas, of proxies whose `X-Forwarded-For` and
            `X-Forwarded-Proto` are believed; empty for none.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 8000
    grpc_port: Annotated[int, msgspec.Meta(ge=-1, le=65535)] = 8001
    workers: Annotated[int, msgspec.Meta(ge=1, le=256)] = 1
    open: bool = False
    hosts: str = ""
    connections: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 2048
    tensor_bytes: Annotated[int, msgspec.Meta(ge=1024, le=1 << 31)] = 64 << 20
    head_seconds: Annotated[float, msgspec.Meta(gt=0, le=300)] = 10.0
    body_rate: Annotated[float, msgspec.Meta(ge=1)] = 1024.0
    grace: Annotated[float, msgspec.Meta(ge=0, le=60)] = 0.5
    cors: str = ""
    proxied: bool = False
    proxies: str = ""


class TlsSettings(Branch, frozen=True):
    """TLS, over HTTP and gRPC. Files are looked for in the data folder; `/…` is elsewhere.

    Attributes:
        certificate: PEM, the server's own first, then those that lead to its root; whatever is
            laid there later is served within two seconds.
        key: PEM, readable by nobody else; empty if it stands in the certificate's file.
        client_ca: PEM: clients must show a certificate that one of these has signed.
        client_names: which of those are let in as which service: `NAME=SERVICE` with commas; empty
            for all, each as its own name.
        hsts: seconds for which browsers shall come over https only; 0 to say nothing of it.
        acme: ask a certificate authority for the certificate, whose terms you thereby agree to.
        acme_names: of hosts that it is to be for, with commas.
        acme_mail: where the authority may write to.
        acme_directory: the authority's directory, https.
        acme_ca: PEM that the directory's own certificate is checked against; with it, the directory
            may be an inner host.
        acme_http_port: where the authority finds the proof, by way of port 80 of each name; other
            requests there are sent on to https.
    """

    certificate: str = ""
    key: str = ""
    client_ca: str = ""
    client_names: str = ""
    hsts: Annotated[int, msgspec.Meta(ge=0, le=63_072_000)] = 31_536_000
    acme: bool = False
    acme_names: str = ""
    acme_mail: str = ""
    acme_directory: Annotated[str, msgspec.Meta(pattern="^https://")] = (
        "https://acme-v02.api.letsencrypt.org/directory"
    )
    acme_ca: str = ""
    acme_http_port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 80

    @property
    def on(self) -> bool:
        """Whether the server speaks TLS."""
        return bool(self.certificate or self.acme)


class ServingSettings(Branch, frozen=True):
    """The inference path.

    Attributes:
        seats: calls in progress in one worker; further ones are refused at once.
        deadline: seconds from a call's head to its answer.
        exact: decode every JPEG at full size.
        files: most pictures in one multipart call.
        models: names of the models to serve, with commas; empty for all that are found.
        instances: runs of a model at the same time; 0 for one a core.
    """

    seats: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 64
    deadline: Annotated[float, msgspec.Meta(gt=0, le=3600)] = 30.0
    exact: bool = False
    files: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 16
    models: str = ""
    instances: Annotated[int, msgspec.Meta(ge=0, le=256)] = 0


class RegistrySettings(Branch, frozen=True):
    """Which models are in memory, and where they come from.

    Attributes:
        load: `start`: what answers is loaded before the server is ready; `demand`: on its first
            call.
        poll: seconds between looks for new versions and changed releases; 0 for never.
        memory: most MiB that loaded models may take together; 0 for no bound.
        protect: seconds after its last call in which a model is not let go for another one.
        trust: `any`; or `signed`: models of the data folder are served only if one of the public
            keys in its folder `trust` signed exactly these files.
        unsafe: also serve formats that can carry a program (TorchScript); they run behind a wall.
        watch: a folder or `s3://BUCKET/PREFIX` with `NAME/VERSION/…`: what appears there is
            imported and served, what goes is taken out of service; empty for none.
        watch_seconds: between two looks there; a version is taken once it is the same in both.
    """

    load: Literal["start", "demand"] = "start"
    poll: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 0.5
    memory: Annotated[int, msgspec.Meta(ge=0)] = 0
    protect: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 10.0
    trust: Literal["any", "signed"] = "any"
    unsafe: bool = False
    watch: str = ""
    watch_seconds: Annotated[float, msgspec.Meta(ge=0.1, le=3600)] = 5.0


class WallSettings(Branch, frozen=True):
    """The worker processes that imported models run in.

    Attributes:
        around: `imported` models, `all` of them, or `none`.
        memory: most MiB of one worker.
        run_seconds: longest run of a model; a worker that takes longer is ended.
        output: most MiB that one run may answer.
        strict: do not start a worker on a machine that lacks an essential part of the wall.
    """

    around: Literal["imported", "all", "none"] = "imported"
    memory: Annotated[int, msgspec.Meta(ge=64)] = 4096
    run_seconds: Annotated[float, msgspec.Meta(gt=0, le=3600)] = 30.0
    output: Annotated[int, msgspec.Meta(ge=1)] = 256
    strict: bool = True


class ImageSettings(Branch, frozen=True):
    """What a picture may cost.

    Attributes:
        bytes: largest file.
        pixels: largest width x height.
        side: longest side in pixels.
        frames: most frames of an animation.
        metadata: most bytes of EXIF, XMP, ICC and text.
        extra_formats: also take HEIC, AVIF and TIFF (needs the `formats` extra).
    """

    bytes: Annotated[int, msgspec.Meta(ge=1, le=1 << 30)] = 20 << 20
    pixels: Annotated[int, msgspec.Meta(ge=1, le=1 << 30)] = 40_000_000
    side: Annotated[int, msgspec.Meta(ge=1, le=65_535)] = 12_000
    frames: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 64
    metadata: Annotated[int, msgspec.Meta(ge=0, le=1 << 30)] = 4 << 20
    extra_formats: bool = False


class OipSettings(Branch, frozen=True):
    """The Open Inference Protocol.

    Attributes:
        server_name: what the server calls itself there; some of Triton's samples want `triton`.
        shared_memory: let callers on this machine pass tensors through shared memory.
    """

    server_name: str = "heliograph"
    shared_memory: bool = False


class TfservingSettings(Branch, frozen=True):
    """TensorFlow Serving's configuration files.

    Attributes:
        model_config_file: a ModelServerConfig as text: what is served, which versions and labels.
        batching_parameters_file: BatchingParameters as text: how calls are gathered into batches.
    """

    model_config_file: str = ""
    batching_parameters_file: str = ""


class LogSettings(Branch, frozen=True):
    """The log, on standard error, and the metrics.

    Attributes:
        style: `plain` for people, `json` for programs.
        level: `debug`, `info`, `warning` or `error`; `info` has a line for each call.
        histograms: count in `/metrics` how long each step of the calls took.
    """

    style: Literal["plain", "json"] = "plain"
    level: Literal["debug", "info", "warning", "error"] = "info"
    histograms: bool = True


class StorageSettings(Branch, frozen=True):
    """Where rows and blobs are kept.

    Attributes:
        url: `postgresql://USER:PASSWORD@HOST/NAME`; empty for SQLite in the data folder.
        blobs: `s3://BUCKET/PREFIX`; empty for a folder in the data folder.
    """

    url: str = ""
    blobs: str = ""


class AccountsSettings(Branch, frozen=True):
    """Who may come in.

    Attributes:
        registration: `closed`: only the operator asks people in; `invited`: members may too;
            `approval`: anybody may ask, the operator decides; `open`: anybody with an address.
        identity: levels that features need, such as `create_keys=email,raise_quota=real_name`; the
            levels are `email`, `phone` and `real_name`; empty for none.
    """

    registration: Literal["closed", "invited", "approval", "open"] = "closed"
    identity: str = ""


class AuditSettings(Branch, frozen=True):
    """The audit log.

    Attributes:
        copies: a folder, best on another disk, that gets a copy of every signed checkpoint.
    """

    copies: str = ""


class MailSettings(Branch, frozen=True):
    """Mails to people.

    Attributes:
        host: of the SMTP server; empty: mails are written into the folder `outbox`.
        port: of it.
        user: to log in with; empty for no log-in.
        password_file: a file with the password.
        sender: the address that mails come from.
        tls: `starttls`, `implicit`, or `none` for a server on this machine.
        authorities: a file with the certificates that are trusted; empty for the system's.
        base_url: the address at which browsers reach this server, for links in mails.
    """

    host: str = ""
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 587
    user: str = ""
    password_file: str = ""
    sender: str = "Heliograph <heliograph@localhost>"
    tls: Literal["starttls", "implicit", "none"] = "starttls"
    authorities: str = ""
    base_url: str = ""


class FetchSettings(Branch, frozen=True):
    """Pictures by URL.

    Attributes:
        allow: hosts that may be asked, with commas; `*.example.org` for all below it; `*` for any
            public one; empty: not offered.
        ports: with commas.
        seconds: longest fetch.
        redirects: most of one picture.
        proxy: `http://[user:password@]host:port` for all that leaves; empty to go straight.
    """

    allow: str = ""
    ports: str = "80,443"
    seconds: Annotated[float, msgspec.Meta(gt=0, le=300)] = 10.0
    redirects: Annotated[int, msgspec.Meta(ge=0, le=3)] = 3
    proxy: str = ""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The tree of settings, a branch per concern; `home` is the data folder."""

    home: Path
    server: ServerSettings = ServerSettings()
    tls: TlsSettings = TlsSettings()
    serving: ServingSettings = ServingSettings()
    registry: RegistrySettings = RegistrySettings()
    walls: WallSettings = WallSettings()
    image: ImageSettings = ImageSettings()
    oip: OipSettings = OipSettings()
    tfserving: TfservingSettings = TfservingSettings()
    storage: StorageSettings = StorageSettings()
    accounts: AccountsSettings = AccountsSettings()
    audit: AuditSettings = AuditSettings()
    mail: MailSettings = MailSettings()
    fetch: FetchSettings = FetchSettings()
    log: LogSettings = LogSettings()


def home_folder(given: str | None = None) -> Path:
    """The data folder: the argument, `HELIOGRAPH_HOME`, or `~/.heliograph`."""
    chosen = given or os.environ.get("HELIOGRAPH_HOME") or "~/.heliograph"
    return Path(chosen).expanduser().absolute()


def read_settings(home: Path, given: dict[str, dict[str, Any]] | None = None) -> Settings:
    """Merge command line, environment and `home/heliograph.toml`, and check the whole.

    Raises:
        HeliographError: `validation`, naming the setting.
    """
    settings = core_settings.load(
        Settings,
        home=home,
        file=home / "heliograph.toml",
        environ=os.environ,
        given=given or {},
    )
    if settings.server.open and settings.server.host not in _LOOPBACK:
        raise HeliographError(
            Code.VALIDATION,
            f"--open lets everybody in and is for loopback only, but host is "
            f"{settings.server.host!r}. Leave --open away: the key lies in admin.key.",
        )
    server = settings.server
    check_exposure(server.host, tls=settings.tls.on, proxied=server.proxied)
    if settings.fetch.allow:
        from heliograph.outbound.targets import Policy

        Policy.read(settings.fetch.allow, settings.fetch.ports)
    if settings.registry.watch:
        from heliograph.registry.importing.places import check_place

        check_place(settings.registry.watch, home)
    return settings
