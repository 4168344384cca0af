"""Trusted publishing (PEP 807) for a Python package index: the web tier's side of Mintage."""
