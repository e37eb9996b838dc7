"""What the administration API reads and writes, as its OpenAPI description says it: systems, agencies, refusals."""

from __future__ import annotations

import datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from vnedoc.exchange.hub.accounts import Role
from vnedoc.exchange.hub.administration import (
    MAX_CODE_CHARS,
    MAX_EMAIL_CHARS,
    MAX_NAME_CHARS,
    MAX_NETWORKS,
)

__all__ = [
    "AgencyPage",
    "AgencyView",
    "Closing",
    "DirectoryImport",
    "Given",
    "ImportResult",
    "NewSystem",
    "PrincipalView",
    "Problem",
    "Rotation",
    "SecretMade",
    "Shown",
    "SystemChange",
    "SystemMade",
    "SystemPage",
    "SystemView",
    "WantedAgency",
]

MAX_OVERLAP_HOURS = 90 * 24

Code = Annotated[str, Field(min_length=1, max_length=MAX_CODE_CHARS)]
Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARS)]
Networks = Annotated[list[Annotated[str, Field(max_length=50)]], Field(max_length=MAX_NETWORKS)]
Certificates = Annotated[list[Annotated[str, Field(max_length=100)]], Field(max_length=MAX_NETWORKS)]


class Given(BaseModel):
    """What a caller sends: nothing that is not known."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True)


class Shown(BaseModel):
    """What the API answers."""

    model_config = ConfigDict(from_attributes=True, use_attribute_docstrings=True)


class ProblemField(Shown):
    """What is wrong with one field of a request."""

    pointer: str
    """Where."""
    detail: str
    """What."""


class Problem(Shown):
    """A refusal (RFC 9457)."""

    type: str = "about:blank"
    """Always ``about:blank``: the HTTP status says what kind it is."""
    title: str
    """The name of the HTTP status."""
    status: int
    """The HTTP status."""
    detail: str
    """One sentence for people, in the language of ``Accept-Language``."""
    code: str
    """A word for programs that never changes its meaning."""
    hint: str | None = None
    """What can be done about it."""
    errors: list[ProblemField] | None = None
    """The fields that are wrong."""


class PrincipalView(Shown):
    """Who calls."""

    name: str
    """``token:`` and the id of the token."""
    role: Role
    """What it may do."""


class SecretView(Shown):
    """That a system has a secret; never the secret."""

    id: str
    """How people call it."""
    created_at: AwareDatetime
    """When it was made."""
    expires_at: AwareDatetime | None
    """When it ends; null for the one that stays."""


class SystemView(Shown):
    """A system that may call the hub."""

    id: str
    """Its id."""
    name: str
    """What people call it."""
    created_at: AwareDatetime
    """When it was added."""
    disabled_at: AwareDatetime | None
    """Since when it may not call; null if it may."""
    networks: list[str]
    """The networks it may call from, as CIDR; empty is any."""
    certificates: list[str]
    """SHA-256 of the client certificates it may show; empty: it needs none."""
    agency_count: int
    """How many agencies it sends and receives for."""
    secrets: list[SecretView]
    """Its secrets in force, the newest first; two during a rotation."""
    version: int
    """Counts changes; the ``ETag``."""


class SystemPage(Shown):
    """Systems by their ids."""

    items: list[SystemView]
    """The systems."""
    next: str | None
    """For ``after`` of the next page; null on the last."""


class NewSystem(Given):
    """A system to be added."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:\-]{0,63}$")]
    """Its id."""
    name: Name | None = None
    """What people call it; null is its id."""
    networks: Networks = []
    """The networks it may call from, as CIDR."""
    certificates: Certificates = []
    """SHA-256 of the client certificates it may show."""


class SystemMade(Shown):
    """A system that was added, with its secret, which is not shown again."""

    system: SystemView
    """The system."""
    secret_id: str
    """How people call the secret."""
    secret: str
    """The secret."""


class SystemChange(Given):
    """What is to be changed of a system; what is left out stays."""

    name: Name | None = None
    """What people call it."""
    networks: Networks | None = None
    """The networks it may call from, as CIDR."""
    certificates: Certificates | None = None
    """SHA-256 of the client certificates it may show."""
    disabled: bool | None = None
    """Whether it may not call."""


class Rotation(Given):
    """A new secret for a system."""

    overlap_hours: Annotated[int, Field(ge=0, le=MAX_OVERLAP_HOURS)] = 24
    """How long the one before stays good; 0 ends it at once. Older ones end now."""


class SecretMade(Shown):
    """A new secret, which is not shown again."""

    secret_id: str
    """How people call it."""
    secret: str
    """The secret."""
    older_until: AwareDatetime | None
    """Until when the one before is good, too."""


class AgencyView(Shown):
    """An agency that the hub delivers to."""

    code: str
    """Its code."""
    name: str
    """Its name."""
    parent_code: str | None
    """Code of the agency above it."""
    email: str | None
    """Its mail address."""
    old_code: str | None
    """Its code by QCVN 102:2016; packages addressed to it arrive too."""
    system_id: str
    """The system that sends and receives for it."""
    closed_on: datetime.date | None
    """The first day on which it is no more (Vietnam time)."""
    successor_code: str | None
    """Code of the agency that took over its work."""
    forwards: bool
    """Whether packages for it go to the successor from that day on; else they are refused."""
    version: int
    """Counts changes; the ``ETag``."""


class AgencyPage(Shown):
    """Agencies by their codes."""

    items: list[AgencyView]
    """The agencies."""
    next: str | None
    """For ``after`` of the next page; null on the last."""


class WantedAgency(Given):
    """An agency as it is to be."""

    system_id: Code
    """The system that sends and receives for it."""
    name: Name
    """Its name."""
    parent_code: Code | None = None
    """Code of the agency above it."""
    email: Annotated[str, Field(max_length=MAX_EMAIL_CHARS)] | None = None
    """Its mail address."""
    old_code: Code | None = None
    """Its code by QCVN 102:2016."""


class Closing(Given):
    """How an agency is closed."""

    on: datetime.date
    """The first day on which it is no more (Vietnam time)."""
    successor_code: Code | None = None
    """Who takes over its work; named to those who still send to it."""
    forwards: bool = False
    """Whether packages for it go to the successor; else they are refused."""


class DirectoryImport(Given):
    """A directory file for a system."""

    system_id: Code
    """The system that serves the agencies."""
    directory: dict[str, Any]  # checked by the reader of directories
    """The directory, as in a file with the schema ``vnedoc.directory/1``."""
    only: Annotated[list[Code], Field(max_length=10_000)] = []
    """Codes of either scheme; empty is all."""


class ImportResult(Shown):
    """What an import changed."""

    count: int
    """How many agencies exist today."""
    added: int
    """How many of them are new."""
    changed: int
    """How many were there and are not the same now."""
    moved: int
    """How many of these another system had."""
    closed: list[str]
    """Codes that were given an end."""
