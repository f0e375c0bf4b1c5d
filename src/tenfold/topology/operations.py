"""The sections of running a platform: what alerts, who is told, how it is deployed and backed up. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from tenfold.topology.section import Name, Port, Recipient, ReleasePath, Seconds, Section, UrlPath, Whole

Limit = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]


class Threshold(Section):
    """Two limits of one figure; it alerts once it has stayed above one of them for `for_s`."""

    warning: Limit | None = Field(None, description="Above it: a warning; none where this line is missing.")
    critical: Limit | None = Field(None, description="Above it: critical.")
    for_s: Seconds = Field(120.0, ge=0, le=86_400, description="Seconds that it must stay there first.")


class Remedies(StrEnum):
    """What the agent does about a backend that runs and does not answer."""

    RESTART = "restart"
    DRY_RUN = "dry-run"
    OFF = "off"


class Monitor(Section):
    """[monitor]: when the platform alerts, and what it does by itself."""

    response_time_s: Threshold = Field(Threshold(warning=2.0, critical=5.0), description="P95 of the last 5 minutes.")
    error_ratio: Threshold = Field(
        Threshold(warning=0.05, critical=0.10), description="Answers of 500 and above, of all in the last 5 minutes."
    )
    memory_ratio: Threshold = Field(Threshold(warning=0.80, critical=0.90), description="Memory in use.")
    cpu_ratio: Threshold = Field(Threshold(warning=0.70, for_s=300.0), description="CPU in use, all cores are 1.")
    disk_ratio: Threshold = Field(Threshold(warning=0.80, critical=0.90), description="Disk in use.")
    slow_query_s: Threshold = Field(Threshold(warning=1.0), description="P95 of a shard's statements, 5 minutes.")
    certificate_days: tuple[Whole, Whole] = Field(
        (21, 7), description="Days before a certificate ends: warning, and critical."
    )
    certificates: tuple[str, ...] = Field(
        (), description='Certificates to watch: files (PEM), or "host:port" that speaks TLS.'
    )
    down_for_s: Seconds = Field(15.0, ge=0, le=3600, description="Seconds until what is down alerts.")
    no_data: bool = Field(True, description="Whether a source that falls silent alerts, after down_for_s.")
    min_requests: Whole = Field(
        20, ge=1, le=1_000_000, description="Requests in the window below which times and ratios do not alert."
    )
    keep_firing_s: Seconds = Field(
        120.0, ge=0, le=86_400, description="Seconds that an alert stays after its figure is well again."
    )
    clear_ratio: Annotated[float, Field(strict=True, gt=0, le=1)] = Field(
        0.9, description="Part of its limit that a figure must fall below to be well again."
    )
    remedies: Remedies = Field(
        Remedies.RESTART, description="restart | dry-run | off: about a backend that runs and does not answer."
    )

    @field_validator(
        "response_time_s", "error_ratio", "memory_ratio", "cpu_ratio", "disk_ratio", "slow_query_s", mode="before"
    )
    @classmethod
    def _other_limits_stay(cls, given: Any, info: ValidationInfo) -> Any:
        # Whoever writes another warning has not asked to lose the critical one by that.
        shipped = cls.model_fields[str(info.field_name)].default.model_dump()
        return {**shipped, **given} if isinstance(given, dict) else given


class Slack(Section):
    """[notify.slack]: an incoming webhook of Slack, or of what takes the same."""

    url: SecretStr = Field(description='Address of the webhook: "${NAME}" or "file:PATH".', examples=["${SLACK_URL}"])


class Security(StrEnum):
    """How mail travels."""

    STARTTLS = "starttls"
    TLS = "tls"
    NONE = "none"


class Email(Section):
    """[notify.email]: mail by a server that speaks TLS."""

    server: str = Field(min_length=1, description="Name of the mail server.", examples=["smtp.example"])
    port: Port = Field(587, description="Its port.")
    security: Security = Field(Security.STARTTLS, description="starttls | tls | none, which is for loopback only.")
    ca: str | None = Field(None, min_length=1, description="File with the CA to trust; default: the system's.")
    user: str | None = Field(None, min_length=1, description="Account on the server.")
    password: SecretStr | None = Field(None, description='Of the account: "${NAME}" or "file:PATH".')
    sender: str = Field(min_length=3, description="From whom.", examples=["tenfold@example.com"])
    to: tuple[str, ...] = Field(min_length=1, description="To whom.", examples=[["oncall@example.com"]])


class Webhook(Section):
    """[notify.webhook]: JSON, signed, to an address of yours."""

    url: SecretStr = Field(description='Its address: "${NAME}" or "file:PATH".', examples=["${WEBHOOK_URL}"])
    secret: SecretStr = Field(
        description='Key of the signature (HMAC-SHA256): "${NAME}" or "file:PATH".', examples=["${WEBHOOK_SECRET}"]
    )
    ca: str | None = Field(None, min_length=1, description="File with the CA to trust; default: the system's.")


class Severity(StrEnum):
    """How bad it is."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class Notify(Section):
    """[notify]: who is told of alerts and deploys, and how."""

    slack: Slack | None = Field(None, description="Slack.")
    email: Email | None = Field(None, description="Mail.")
    webhook: Webhook | None = Field(None, description="A webhook.")
    min_severity: Severity = Field(
        Severity.WARNING, description="info | warning | critical: which alerts are told. The end of a deploy always is."
    )
    group_wait_s: Seconds = Field(30.0, ge=0, le=3600, description="Alerts that begin within it are told as one.")
    repeat_s: Seconds = Field(14_400.0, ge=60, le=604_800, description="What still fires is told again after it.")
    give_up_s: Seconds = Field(
        86_400.0, ge=60, le=604_800, description="How long one notice is tried, before it is a dead letter."
    )


class Keeper(StrEnum):
    """What keeps the processes of a host alive."""

    TENFOLD = "tenfold"
    SYSTEMD = "systemd"


class Deploy(Section):
    """[deploy]: how a release comes onto the hosts, and what must hold before it stays."""

    repository: str | None = Field(
        None, min_length=1, description="Git repository: a path or an address; default: the directory of this file."
    )
    ref: str = Field("HEAD", min_length=1, description="Branch, tag or commit that `tenfold deploy` takes if not told.")
    install: str | None = Field(
        None, description="Installs dependencies in the release; default: as its files ask; empty: nothing. No shell."
    )
    build: tuple[str, ...] = Field((), description="Commands run in the release after that, in order. No shell.")
    shared: tuple[ReleasePath, ...] = Field((), description="Paths in the release that all releases share: uploads.")
    writable: tuple[ReleasePath, ...] = Field((), description="Paths in the release that the app may write.")
    migrations: str = Field("migrations", description="Directory of numbered .sql files in the release.")
    clear_cache: tuple[str, ...] = Field((), description='Patterns of keys that are cleared in Redis: "page:*".')
    keep: Whole = Field(5, ge=2, le=100, description="Releases that stay on a host, the present one counted.")
    keeper: Keeper = Field(Keeper.TENFOLD, description="tenfold | systemd: what runs the backends on the hosts.")
    drain_s: Seconds = Field(10.0, ge=0, le=3600, description="How long sessions may stay on a backend to be replaced.")
    health_passes: Whole = Field(3, ge=1, le=100, description="Good answers in a row that a new backend must give.")
    settle_s: Seconds = Field(5.0, ge=0, le=3600, description="How long all must have run before the deploy is good.")
    gate_path: UrlPath | None = Field(None, description="Path that the response-time gate asks; default: app.health.")
    gate_requests: Whole = Field(20, ge=5, le=1000, description="Requests of the response-time gate.")
    gate_slower: Limit = Field(2.0, description="How many times the time before the deploy is too slow.")
    gate_floor_s: Limit = Field(0.25, description="What is quicker than this is never too slow.")
    min_disk_mb: Whole = Field(1024, ge=0, le=10_000_000, description="Free disk that a host must have, in MiB.")
    min_memory_mb: Whole = Field(128, ge=0, le=10_000_000, description="Free memory that a host must have, in MiB.")
    backup_age_h: Limit | None = Field(
        None, description="Hours since the last verified backup above which nothing is deployed; default: not asked."
    )
    lock_s: Seconds = Field(30.0, ge=1, le=3600, description="A deployer silent for so long counts as dead.")
    ssh_key: str | None = Field(None, min_length=1, description="Private key; default: ssh-agent, and ~/.ssh.")
    known_hosts: str | None = Field(None, min_length=1, description="Host keys; default: ~/.ssh/known_hosts.")


class Backup(Section):
    """[backup]: where backups go, for whose eyes, and how long they stay."""

    directory: str = Field("var/backups", min_length=1, description="Where they are kept; relative to this file.")
    recipient: Recipient | None = Field(None, description="Public key (age) that they are encrypted to.")
    files: tuple[str, ...] = Field((), description="Files and directories that belong to it, relative to this file.")
    barrier_s: Seconds = Field(5.0, gt=0, le=300, description="How long writes may be held up at its start.")
    keep_days: Whole = Field(7, ge=0, le=3650, description="Days of which the last backup is kept.")
    keep_weeks: Whole = Field(4, ge=0, le=520, description="Weeks likewise.")
    keep_months: Whole = Field(12, ge=0, le=240, description="Months likewise.")
    scratch: Name | None = Field(
        None, description="A shard of this file whose server may hold a scratch database; default: one is started."
    )
