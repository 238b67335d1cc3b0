"""Why there is no connection, or no answer on one, in words for logs and users."""

from __future__ import annotations

import errno
import os
import ssl


def why(error: Exception) -> str:
    """Return the reason of a failure, without the address that asyncio and aiohttp add to it."""
    cause = getattr(error, "os_error", None) or error  # aiohttp.ClientConnectorError
    number = (cause.errno if isinstance(cause, OSError) else None) or 0
    if number in errno.errorcode and not isinstance(cause, ssl.SSLError):
        return os.strerror(number)
    return getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
