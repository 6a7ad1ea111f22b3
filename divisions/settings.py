"""Configuration from the environment, read once by composition roots and passed on as values."""

from __future__ import annotations

import dataclasses
import hashlib
import ipaddress
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from divisions.errors import SettingsError
from divisions.setting_values import KNOWN, PREFIX, parse_value

LOOPBACK = "127.0.0.1"
PRIVATE_UMASK = 0o077
"""The umask of every process that writes into the home: models and features are for its owner only."""


@dataclass(frozen=True, slots=True)
class S3Settings:
    """How to reach S3, from standard AWS variables. None leaves the choice to the AWS provider chain.

    With a custom endpoint and no credentials, requests are anonymous.
    """

    endpoint_url: str | None = dataclasses.field(default=None, repr=False)
    region: str | None = None
    access_key: str | None = dataclasses.field(default=None, repr=False)
    secret_key: str | None = dataclasses.field(default=None, repr=False)
    session_token: str | None = dataclasses.field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting of Divisions. Variable names are ``DIVISIONS_`` and the field's name in capitals."""

    home: Path
    """Folder of all state: cluster file, tokens, journal, registry, bundles, features. Default ``.divisions/state``."""
    host: str = "127.0.0.1"
    """Addresses that gateways listen on, separated by commas. Empty means the loopback address and the node's own: the
    default of clusters of several machines."""
    node_host: str = ""
    """Address of this machine that the other machines of its Ray cluster reach; empty means that there are none."""
    gateway: str = dataclasses.field(default="", repr=False)
    """URL of the gateway that commands use; empty means that of the home's cluster."""
    port: int = 8000
    """Port that gateways listen on, shared by all gateways of a node."""
    gateways: int = 1
    """Gateway processes per node."""
    compiled: bool = True
    """Whether gateways run the compiled hot path, if it was compiled."""
    metrics_port: int = 0
    """First of the ports on which each gateway of a node answers for itself, for scrapes; 0 takes any free ones."""
    prometheus_port: int = 0
    """Port of the Prometheus that ``divisions up`` starts beside the cluster; 0 starts none."""
    dashboard_port: int = 8265
    """Port of Ray's dashboard and job server."""
    gcs_port: int = 6479
    """Port of the embedded Ray cluster's head (not Ray's default, so that other clusters are left alone)."""
    tracking_uri: str = dataclasses.field(default="", repr=False)
    """MLflow tracking and registry URI; empty means SQLite and a folder inside ``home``."""
    database: str = dataclasses.field(default="", repr=False)
    """Where the controller's journal is: ``postgresql+psycopg://…``, which machines can share. Empty means SQLite in
    ``home``."""
    allow_faults: bool = False
    """Whether rollouts may inject faults. Never on in production."""
    allow_buckets: tuple[str, ...] = ()
    """S3 buckets that pipelines may read; empty means any."""
    allowed_hosts: tuple[str, ...] = ()
    """Values of the Host header that gateways accept, without ports; ``*`` means any. Empty means the loopback names,
    ``host``, and the names of the port's certificate."""
    channel_host: str = ""
    """Address that replicas listen on for gateways of other nodes. Empty means their node's own address; where Ray is
    on the loopback interface, Unix sockets only."""
    channel_tls: bool = True
    """Whether the channel between nodes is encrypted, with certificates on both sides."""
    channel_ca: str = ""
    """File with the certificate and private key of the authority for the channel's certificates. Empty means one that
    the cluster makes."""
    tls_cert: str = ""
    """File with the certificate (PEM) of the gateways' port, followed by those of its issuers; empty means plain
    HTTP."""
    tls_key: str = ""
    """File with the private key (PEM) of ``tls_cert``."""
    tls_ca: str = ""
    """File with the certificates (PEM) of the authorities that clients and commands trust for a gateway; empty means
    those of the system."""
    max_body_bytes: int = 1_048_576
    """Largest request body that a gateway accepts."""
    request_timeout_ms: int = 1_000
    """Deadline of a predict request that names none, and the longest that a request may name."""
    environment: str = ""
    """What the cluster is for. In ``production`` each version needs somebody else's approval before it is promoted."""
    image: str = ""
    """The image that the cluster runs, ``registry/repository@sha256:…``, for policies. Kubernetes' manifests set it."""
    require_key: bool = False
    """Whether every endpoint asks for keys; otherwise the pipeline of its version decides (``serving.access``)."""
    idle_timeout_s: int = 75
    """How long a gateway keeps a connection without a request. A load balancer in front must give up earlier."""
    artifacts: str = ""
    """Where machines share bundles: ``s3://bucket/prefix``, ``oci://registry/path`` or an absolute path. Empty means
    the folder of ``home``."""
    artifact_cache_mb: int = 10_000
    """How much of a shared store's bundles a machine keeps in ``home/bundles``."""
    trusted_keys: tuple[str, ...] = ()
    """Public keys, ``ed25519:…``, of which one must have signed a bundle before it is used; empty means none must."""
    oidc_file: str = ""
    """File with the issuers whose JWTs the control API takes, see `divisions.access.issuers`; empty means none."""
    policy: str = ""
    """Folder of the cluster owner's policies in Rego, see docs/rego.md; empty means ``policy`` beside ``home``, if it
    is there."""
    opa_url: str = dataclasses.field(default="", repr=False)
    """URL of the Open Policy Agent server that decides instead of the engine in process; empty means none does."""
    online_store: str = dataclasses.field(default="", repr=False)
    """Where machines share stored features: ``redis://[user:password@]host[:port][/database]``, ``rediss://`` with TLS.
    Empty means a file of ``home``. Never shown: it may have a password."""
    webhook_file: str = ""
    """File whose first line is the URL that notifications are sent to; empty means none are. The URL is a secret: it
    is in the file only."""
    webhook_kind: str = "slack"
    """Whose JSON the webhook takes: ``slack`` or ``alertmanager``."""
    webhook_events: tuple[str, ...] = ()
    """What is notified, see `divisions.notice`; empty means everything."""
    public_sections: tuple[str, ...] = ()
    """What the page shows without a token beside endpoints and weights: sections of `divisions.house`, ``status`` or
    ``all``."""
    links: tuple[str, ...] = ()
    """Pages of other tools, ``NAME=URL``, that the page links to: see `divisions.links`. ``NAME=`` takes one away."""
    wandb_project: str = ""
    """The project of Weights & Biases that runs are sent to; empty means none."""
    traces: bool = False
    """Whether gateways send traces of requests by OpenTelemetry, as its own variables say."""
    schedule: bool = True
    """Whether `divisions up` runs pipelines by their trigger."""
    serve_endpoint: str = ""
    """What `divisions serve` calls its endpoint; empty means the bundle's label."""
    serve_version: str = ""
    """What `divisions serve` calls its version; empty means the first digits of the bundle's hash."""
    serve_sha256: str = ""
    """The only bundle that `divisions serve` takes, by its SHA-256; empty means any."""
    ray_address: str = ""
    """Address of the Ray cluster to use when no cluster of this home is up; read from ``RAY_ADDRESS``, which Ray
    sets inside its jobs."""
    s3: S3Settings = S3Settings()
    docker_config: Path = Path(os.path.expanduser("~/.docker/config.json"))
    """The file in which ``docker login`` keeps credentials of registries; its folder is ``DOCKER_CONFIG``."""

    @property
    def scheme(self) -> str:
        """Of the gateways' URLs."""
        return "https" if self.tls_cert else "http"

    @property
    def hosts(self) -> tuple[str, ...]:
        """The addresses of ``host``, that of this machine last."""
        return tuple(part.strip() for part in self.host.split(",") if part.strip()) or (LOOPBACK,)


def runtime_dir(home: Path) -> Path:
    """The folder of the sockets of the home's cluster. Its path is short, because AF_UNIX paths end at 107 bytes."""
    digest = hashlib.sha256(str(home.absolute()).encode()).hexdigest()[:10]
    return Path(tempfile.gettempdir()) / f"divisions-{os.getuid()}-{digest}"


def is_routable(address: str) -> bool:
    """Whether other machines can reach an address of Ray's nodes. Names count, because they are not resolved here.

    >>> is_routable("127.0.0.1"), is_routable("10.0.0.7"), is_routable("node-7")
    (False, True, True)
    """
    try:
        return not ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address != "localhost"


_OF_ONE_MACHINE = {"home", "node_host", "gateway"}
"""What the settings of other machines are not taken from."""
SECRETS = {"DIVISIONS_TOKEN", "DIVISIONS_SIGNING_KEY"}
"""Variables that hold a secret. They are no settings, so that they are never passed on; see `divisions.environment`."""


def load_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Reads the settings.

    Raises:
        SettingsError: a ``DIVISIONS_*`` variable is unknown, or its value is malformed.
    """
    environment = os.environ if environment is None else environment
    values: dict[str, object] = {}
    for variable, text in environment.items():
        if variable.startswith(PREFIX) and variable not in SECRETS:
            field = variable.removeprefix(PREFIX).lower()
            values[field] = parse_value(variable, field, text)
    if bool(values.get("tls_cert")) != bool(values.get("tls_key")):
        given, missing = ("CERT", "KEY") if values.get("tls_cert") else ("KEY", "CERT")
        raise SettingsError(
            f"{PREFIX}TLS_{given} is set without {PREFIX}TLS_{missing}", remedy="set both for TLS, or none"
        )
    home = _home(str(values.pop("home", "")))
    ray_address = environment.get("RAY_ADDRESS", "")
    docker_config = Path(environment.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker")) / "config.json"
    return Settings(home=home, ray_address=ray_address, s3=_s3(environment), docker_config=docker_config, **values)  # type: ignore[arg-type]  # checked by parse_value


def _home(text: str) -> Path:
    """The absolute home folder; the default is in the current folder."""
    path = Path(os.path.expanduser(text or ".divisions/state"))
    if path.parts[0].startswith("~"):
        raise SettingsError(f"DIVISIONS_HOME is {text!r}, but there is no such user", remedy="write the folder's path")
    try:
        return path.absolute()
    except FileNotFoundError:
        raise SettingsError("the current folder no longer exists", remedy="change to another folder") from None


def environment_of(settings: Settings) -> dict[str, str]:
    """The ``DIVISIONS_*`` variables that make `load_settings` give the same settings in another process."""
    variables = {}
    for field in sorted(KNOWN):
        value = getattr(settings, field)
        if isinstance(value, bool):
            value = int(value)
        text = ",".join(value) if isinstance(value, tuple) else str(value)
        variables[PREFIX + field.upper()] = text
    return variables


def environment_for_child(settings: Settings) -> dict[str, str]:
    """This process's environment with exactly these settings, for a child process that reads them."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    return kept | environment_of(settings)


def shared_environment(settings: Settings) -> dict[str, str]:
    """The variables that give these settings on another machine: without what each machine has of its own."""
    own = {PREFIX + field.upper() for field in _OF_ONE_MACHINE}
    shared = {name: text for name, text in environment_of(settings).items() if name not in own}
    return shared | {
        variable: text for variable, field in _S3_VARIABLES.items() if (text := getattr(settings.s3, field))
    }


def is_given(field: str) -> bool:
    """Whether this process's environment sets a setting."""
    return bool(os.environ.get(PREFIX + field.upper()))


def node_home(otherwise: Path) -> Path:
    """The home of this machine: ``DIVISIONS_HOME`` of this process, which Ray's processes have from ``ray start``."""
    return load_settings().home if is_given("home") else otherwise


def take_environment(shared: Mapping[str, str], home: Path) -> Settings:
    """Gives this process, and its children, the settings of a deployment, in the home of this machine."""
    own = {PREFIX + field.upper() for field in _OF_ONE_MACHINE}
    for variable in [name for name in os.environ if name.startswith(PREFIX) and name not in own]:
        del os.environ[variable]
    os.environ.update({**shared, f"{PREFIX}HOME": str(home)})
    return load_settings()


_S3_VARIABLES = {
    "AWS_ENDPOINT_URL_S3": "endpoint_url",
    "AWS_REGION": "region",
    "AWS_ACCESS_KEY_ID": "access_key",
    "AWS_SECRET_ACCESS_KEY": "secret_key",
    "AWS_SESSION_TOKEN": "session_token",
}


def _s3(environment: Mapping[str, str]) -> S3Settings:
    return S3Settings(
        endpoint_url=environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL") or None,
        region=environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or None,
        access_key=environment.get("AWS_ACCESS_KEY_ID") or None,
        secret_key=environment.get("AWS_SECRET_ACCESS_KEY") or None,
        session_token=environment.get("AWS_SESSION_TOKEN") or None,
    )
