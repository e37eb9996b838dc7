"""Signing and verification of PDFs; certificates and trust."""
