"""aiohttp, imported without the authorities of the system.

While it is imported, aiohttp makes two TLS contexts with all certificates of the system: some 90 ms
of CPU and 2 MiB in each process, for a default that nobody uses here. Whoever sends requests gives
a context of their own (modules/common/kube/credentials.py). The default trusts nobody instead, so
that it cannot be used by mistake.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

__all__ = ["Handler", "Middleware", "aiohttp", "hdrs", "web"]

#: What OpenSSL reads the names of the file and of the directory of authorities from.
_VARIABLES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR")


@contextmanager
def _without_authorities() -> Iterator[None]:
    given = {name: os.environ.get(name) for name in _VARIABLES}
    os.environ.update(dict.fromkeys(_VARIABLES, os.devnull))
    try:
        yield
    finally:
        for name, value in given.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


with _without_authorities():
    import aiohttp
    from aiohttp import hdrs, web
    from aiohttp.typedefs import Handler, Middleware
