"""`python -m mintage.exchange UPLOAD_URL`: a CI job's identity for an upload token.

For tools that upload by a token but can't do trusted publishing with every index, such as
twine:

    TWINE_PASSWORD="$(python -m mintage.exchange https://index.example/legacy/ --only dist/*)"

It is PEP 807's client: it asks the index where to mint, the CI for an ID token (with PyPI's
package `id`: install `mintage[exchange]`), and the index for an upload token, which it narrows
offline to the files given. Standard output holds that token and nothing else.

What it trusts: the upload URL that it was given, whatever host that names, and nobody else. So
the ID token goes to no other host, over no plaintext but to loopback, and nowhere by redirect.
What this isn't: an uploader, an index's side (that is `mintage.pep807`), or anything to import.
"""
