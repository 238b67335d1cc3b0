"""Why there is no connection, or no answer on one, in words for logs and users."""

from __future__ import annotations

import errno
import os
import ssl
from typing import Final

#: X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH of OpenSSL.
_OTHER_NAME: Final = (62, 64)


def why(error: Exception) -> str:
    """Return the reason of a failure, without the address that asyncio and aiohttp add to it."""
    cause = getattr(error, "os_error", None) or error  # aiohttp.ClientConnectorError
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {cause.verify_message.rstrip('.')}"
    number = (cause.errno if isinstance(cause, OSError) else None) or 0
    if number in errno.errorcode and not isinstance(cause, ssl.SSLError):
        return os.strerror(number)
    return getattr(cause, "strerror", None) or str(cause) or type(cause).__name__


def is_other_name(error: Exception) -> bool:
    """Whether the certificate of whoever was dialled is not for the name or address dialled."""
    cause = getattr(error, "os_error", None) or error
    return getattr(cause, "verify_code", 0) in _OTHER_NAME
