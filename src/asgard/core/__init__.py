"""Words and sockets that everyone says: no I/O, nothing but the standard library, pyarrow and pydantic.

Import from the module that holds the noun (`from asgard.core.errors import Refused`): this package
imports nothing by itself, so that `asgard --help` stays fast.
"""
