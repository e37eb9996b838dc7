"""Agencies: their codes in both schemes, their place among the levels, and a directory that knows dates."""

from __future__ import annotations

from vnedoc.agencies.codes import CodeScheme, Level, OrganId
from vnedoc.agencies.directory import (
    Agency,
    AgencyDirectory,
    CertificatePin,
    dump_directory,
    load_directory,
    normalize_name,
    parse_directory,
)

__all__ = [
    "Agency",
    "AgencyDirectory",
    "CertificatePin",
    "CodeScheme",
    "Level",
    "OrganId",
    "dump_directory",
    "load_directory",
    "normalize_name",
    "parse_directory",
]
