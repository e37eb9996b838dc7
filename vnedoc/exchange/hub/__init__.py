"""The axis server."""
