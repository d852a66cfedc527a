"""The one reader of the environment: every setting of a deployment, with its default.

A value comes from the variable `WECOLORA_NAME`, or from the file that `WECOLORA_NAME_FILE` names: a secret that
lies in a file shows neither in the process table nor in what an orchestrator prints.
"""

import ipaddress
import os
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

MEBIBYTE = 1024 * 1024
ENV_PREFIX = "WECOLORA_"
FILE_SUFFIX = "_FILE"
RATE_LIMITS_OFF = "off"
GIBIBYTE = 1024 * MEBIBYTE

Seconds = Annotated[float, Field(gt=0)]
Days = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


class Settings(BaseSettings):
    """Settings read from variables `WECOLORA_…`; the defaults are the embedded profile."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, frozen=True, extra="ignore", env_ignore_empty=True
    )

    profile: Literal["embedded", "production"] = Field(
        "embedded",
        description="`production` refuses to start with a secret that is missing or a default, a store that "
        "anyone can read, or a database that is not migrated.",
    )
    data_dir: Path = Field(Path("var"), description="Folder of the embedded database, queue and objects.")
    database_url: str | None = Field(
        None,
        description="SQLAlchemy URL, `postgresql+psycopg://…` in production. Unset: SQLite in `data_dir`",
    )
    broker_url: str | None = Field(
        None, description="Celery broker URL; `redis://…` in production. Unset: a folder in `data_dir`."
    )
    broker_visibility_timeout_seconds: Count = Field(
        3600, description="Redis only. Messages are acknowledged at once, so no job depends on it."
    )
    storage_url: str | None = Field(
        None, description="`s3://bucket/prefix` or `file:///folder`. Unset: `objects` in `data_dir`."
    )
    s3_endpoint: str | None = Field(None, description="Address of an S3-compatible store; unset for AWS.")
    s3_region: str = Field("us-east-1", description="Region of the bucket.")
    s3_access_key_id: SecretStr | None = Field(None, description="Unset: the store's usual credential chain.")
    s3_secret_access_key: SecretStr | None = Field(None, description="Goes with `s3_access_key_id`.")
    s3_allow_http: bool = Field(False, description="Allow an `http://` endpoint.")

    direct_uploads: bool = Field(
        False, description="Clients send parts of datasets straight into the bucket, by signed URLs."
    )
    s3_public_endpoint: str | None = Field(
        None, description="Address of the store for those clients; unset: the same as for the service."
    )
    upload_url_seconds: Annotated[int, Field(ge=1, le=7 * 86_400)] = Field(
        3600, description="A signed URL may be used this long; an upload that has begun by then goes on."
    )

    lease_seconds: Seconds = Field(30, description="A worker that is silent for this long loses its job.")
    heartbeat_seconds: Seconds = Field(10, description="How often a worker renews its lease.")
    max_attempts: Count = Field(3, description="A job whose worker died this many times fails.")
    resend_after_seconds: Seconds = Field(5, description="A waiting job is announced again after this time.")
    dispatcher_interval_seconds: Seconds = Field(1, description="Pause between two rounds of the dispatcher.")
    cancel_grace_seconds: Seconds = Field(30, description="Time a trainer has between SIGTERM and SIGKILL.")

    sweep_interval_seconds: Seconds = Field(60, description="Pause between two sweeps of the dispatcher.")
    upload_idle_days: Days = Field(7, description="An upload that nobody goes on with is deleted.")
    checkpoint_days: Days = Field(
        7, description="Checkpoints of jobs that failed or were cancelled are kept for a retry."
    )
    audit_days: Days = Field(365, description="Older entries of the audit log are removed.")
    idempotency_hours: Annotated[float, Field(gt=0)] = Field(
        24,
        description="A request with an `Idempotency-Key` that is sent again gets its first answer this long.",
    )
    webhook_allow: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Comma-separated networks (`10.1.0.0/16`) and host names that webhooks may reach although they are "
        "not on the public internet.",
    )
    webhook_http: Literal["auto", "allow", "refuse"] = Field(
        "auto", description="Webhooks without TLS, `http://`; `auto`: refused in production."
    )
    webhook_timeout_seconds: Seconds = Field(15, description="Time that an endpoint has for its answer.")
    webhook_retry_seconds: Annotated[tuple[Seconds, ...], NoDecode] = Field(
        (5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400),
        description="Comma-separated pauses before the next tries of a delivery; after the last it has failed.",
    )
    webhook_disable_days: Days = Field(
        5, description="An endpoint where every try failed this long is disabled."
    )
    webhook_secret_overlap_hours: Annotated[float, Field(gt=0)] = Field(
        24, description="After a rotation messages are signed with the old secret, too, this long."
    )
    webhook_log_days: Days = Field(30, description="Older events and deliveries of webhooks are removed.")

    cache_bytes: Count = Field(
        50 * GIBIBYTE, description="A worker's cache of datasets and teachers; what no job uses makes room."
    )

    checkpoint_seconds: Seconds = Field(60, description="A trainer stores a checkpoint this often.")
    storage_patience_seconds: Seconds = Field(
        3600, description="A job waits this long for an object store that does not answer."
    )

    max_upload_bytes: Count = Field(5 * GIBIBYTE, description="Largest body of one upload request.")
    max_json_bytes: Count = Field(MEBIBYTE, description="Largest body of any other request.")
    max_form_files: Count = Field(1000, description="Most files in one multipart form.")
    max_dataset_bytes: Count = Field(200 * GIBIBYTE, description="Largest dataset after unpacking.")
    max_dataset_images: Count = Field(1_000_000, description="Most images in one dataset.")
    max_image_pixels: Count = Field(100_000_000, description="Larger images are skipped, by name.")
    max_stored_side: Annotated[int, Field(ge=0)] = Field(
        1600,
        description="Larger images are stored with their shorter side shrunk to this many pixels, JPEGs that come to "
        "three quarters of it or more by halving, to that; `0`: as large as they came. Training for a teacher of S "
        "pixels uses at most 2.24 S.",
    )

    auth: Literal["none", "keys"] = Field(
        "none",
        description="`keys`: every request needs an API key. `none`: anyone who reaches it may do all.",
    )
    insecure_bind: bool = Field(
        False, description="Serve without authentication on addresses that other machines can reach."
    )
    rate_limits: str = Field(
        "100/second;3000/minute",
        description="Requests of an owner; `off`: any number. For `auth` `keys` only.",
    )
    quota_bytes: Count | None = Field(None, description="Uploaded bytes of an owner. Unset: any number.")
    quota_images: Count | None = Field(None, description="Images of an owner. Unset: any number.")
    quota_running_jobs: Count | None = Field(
        None, description="Jobs of an owner that run at once; more wait. Unset: any number."
    )
    quota_queued_jobs: Count | None = Field(None, description="Waiting jobs of an owner. Unset: any number.")
    quota_device_seconds: Count | None = Field(
        None, description="Seconds on a device (GPU) of an owner's jobs in a period. Unset: any number."
    )
    quota_webhooks: Count | None = Field(20, description="Webhooks of an owner.")
    quota_period_days: Count = Field(30, description="Length of that period, which ends now.")

    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Comma-separated host names to answer to besides `localhost` and IP addresses, or `*`.",
    )
    event_poll_seconds: Seconds = Field(0.3, description="Pause between two looks for new events.")
    event_keepalive_seconds: Seconds = Field(15, description="An idle event stream sends a comment.")
    teacher_catalogue: Path | None = Field(None, description="A catalogue instead of the built-in one.")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Where jobs with device `auto` run.")
    devices: Count = Field(
        1,
        description="Devices (GPUs) of a worker that one job may use at once. Of the API: the most that a job may ask "
        "for; of a worker: it leaves jobs that ask for more to others.",
    )
    device_gib: Annotated[float, Field(gt=0)] | None = Field(
        None,
        description="Memory of a device (GPU) in GiB. Of the API: the largest one's; jobs that need more are refused. "
        "Of a worker: its own; it leaves jobs that need more to others. Unset: enough for any job.",
    )
    spare_trainer: bool = Field(
        True,
        description="A worker keeps a trainer with its libraries loaded for its next job, which starts seconds sooner, "
        "for the memory that they take.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least level logged.")
    log_format: Literal["auto", "text", "json"] = Field(
        "auto", description="`auto`: one JSON object a line in production, lines to read when embedded."
    )
    liveness_path: Path | None = Field(
        None,
        description="Touched every 5 seconds by a worker or dispatcher that is well; "
        "`python -m core.liveness FILE SECONDS` asks.",
    )
    otlp_endpoint: str | None = Field(
        None,
        pattern=r"^https?://",
        description="Collector of traces, OTLP over HTTP: `http://collector:4318`. Needs the extra `tracing`.",
    )

    @property
    def logs_json(self) -> bool:
        """Whether logs are for a machine to read."""
        return self.log_format == "json" or (self.log_format == "auto" and self.profile == "production")

    @field_validator("rate_limits")
    @classmethod
    def _check_rate_limits(cls, value: str) -> str:
        if value != RATE_LIMITS_OFF:
            import limits  # a tenth of a second that only a service with limits pays, not every child

            limits.parse_many(value)
        return value

    @property
    def webhook_http_allowed(self) -> bool:
        """Whether webhooks may go without TLS."""
        return self.webhook_http == "allow" or (self.webhook_http == "auto" and self.profile != "production")

    @field_validator("webhook_allow")
    @classmethod
    def _check_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for entry in value:
            if "/" in entry:
                ipaddress.ip_network(entry)
        return value

    @field_validator("allowed_hosts", "webhook_allow", "webhook_retry_seconds", mode="before")
    @classmethod
    def _split_on_commas(cls, value: object) -> object:
        return tuple(filter(None, map(str.strip, value.split(",")))) if isinstance(value, str) else value

    @property
    def device_bytes(self) -> int | None:
        """Memory of a device; None: enough for any job."""
        return None if self.device_gib is None else int(self.device_gib * GIBIBYTE)

    @model_validator(mode="after")
    def _check_what_goes_together(self) -> Self:
        if self.heartbeat_seconds >= self.lease_seconds:
            raise ValueError(
                f"{variable('heartbeat_seconds')} ({self.heartbeat_seconds:g}) must be less than "
                f"{variable('lease_seconds')} ({self.lease_seconds:g}): a lease is renewed at every heartbeat"
            )
        if (self.s3_access_key_id is None) != (self.s3_secret_access_key is None):
            raise ValueError(
                f"{variable('s3_access_key_id')} and {variable('s3_secret_access_key')} go together: "
                "set both or neither"
            )
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What the caller says, then the environment, then files that the environment names."""
        return init_settings, env_settings, _NamedFiles(settings_cls)


class _NamedFiles(PydanticBaseSettingsSource):
    """The contents of the files that variables `WECOLORA_…_FILE` name."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """The stripped text of the field's file; None when no variable names one."""
        name = variable(field_name) + FILE_SUFFIX
        path = os.environ.get(name)  # noqa: TID251 - this module is the one reader
        if not path:
            return None, field_name, False
        if os.environ.get(variable(field_name)):  # noqa: TID251
            raise SettingsError(f"{variable(field_name)} and {name} are both set; keep one of them")
        try:
            text = Path(path).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise SettingsError(f"{name} names {path}, which cannot be read: {error.strerror}") from error
        if not text:
            raise SettingsError(f"{name} names {path}, which is empty")
        return text, field_name, False

    def __call__(self) -> dict[str, Any]:
        """Every value that a file gives."""
        found = {
            name: self.get_field_value(info, name)[0] for name, info in self.settings_cls.model_fields.items()
        }
        return {name: value for name, value in found.items() if value is not None}


def variable(field: str) -> str:
    """The environment variable of a setting."""
    return f"{ENV_PREFIX}{field.upper()}"


def to_environment(settings: Settings) -> dict[str, str]:
    """This process's environment with the settings in it: what a child process needs to have the same ones.

    A value that came from a file stays there, and the child reads it for itself.
    """
    environment = dict(os.environ)  # noqa: TID251 - this module is the one reader
    in_files = _NamedFiles(Settings)()
    for name in Settings.model_fields:
        text = _as_text(getattr(settings, name))
        if in_files.get(name) == text:
            continue
        environment.pop(variable(name) + FILE_SUFFIX, None)
        environment[variable(name)] = text
    return environment


def _as_text(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return ",".join(map(str, value)) if isinstance(value, tuple) else "" if value is None else str(value)


def read_settings(**changed: Any) -> Settings:
    """The settings of this process, some of them changed.

    Raises:
        SystemExit: when one is wrong; says which variables, never their values if they are secret.
    """
    try:
        return Settings(**changed)
    except SettingsError as error:
        raise SystemExit(f"The settings are wrong: {error}.") from None
    except ValidationError as error:
        raise SystemExit("The settings are wrong: " + "; ".join(_explain(error)) + ".") from None


def _explain(error: ValidationError) -> list[str]:
    return [
        f"{variable(str(problem['loc'][0]))}: {problem['msg']}"
        if problem["loc"]
        else problem["msg"].removeprefix("Value error, ")
        for problem in error.errors(include_url=False, include_input=False)
    ]


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The process's settings, read once.

    Raises:
        SystemExit: when one is wrong.
    """
    return read_settings()
