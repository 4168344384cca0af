"""A small Python package index with trusted publishing, to read and to copy from.

It shows what an index's own part is once Mintage has the tokens: who may publish what
(`database`), whom a CI job may turn out to be (`publishing`), and what an upload has to be
(`distribution`, `app`). It isn't made to serve the world: one SQLite file, no accounts, no search.
"""
