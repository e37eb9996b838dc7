"""The version of vnedoc."""

__all__ = ["USER_AGENT", "VERSION"]

VERSION = "0.1.0"
USER_AGENT = f"vnedoc/{VERSION}"
"""How vnedoc names itself to servers."""
