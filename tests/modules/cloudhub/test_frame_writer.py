from __future__ import annotations

import pytest

from modules.cloudhub.endpoint.frame_writer import frames_of


# The lengths at which a header changes its form, and the headers (RFC 6455, 5.2).
@pytest.mark.parametrize(
    ("length", "header"),
    [
        (0, "8200"),
        (125, "827d"),
        (126, "827e007e"),
        (65_535, "827effff"),
        (65_536, "827f0000000000010000"),
    ],
)
def test_each_message_has_a_frame(length: int, header: str) -> None:
    message = b"x" * length
    assert (
        frames_of([message, b"ab"], text=False) == bytes.fromhex(header) + message + b"\x82\x02ab"
    )
