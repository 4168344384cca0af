"""The contract, `proto/mintage/v1/`, as Python stubs: all made by `python/scripts/stubs.py`.

`mintage.Client` is made of them; use them directly only for what it doesn't offer.
"""
