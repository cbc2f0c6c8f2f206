"""What must not be written down: passwords in addresses."""

from __future__ import annotations

import re

__all__ = ["HIDDEN", "without_passwords"]

HIDDEN = "***"

_USER = re.compile(r"(://[^:/?#\s@]*:)\S*@")
_QUERY = re.compile(
    r"([?&;][^=&;#\s]*(?:pass|pwd|secret|token|key|credential|auth|sig)[^=&;#\s]*=)[^&;#\s]*",
    re.IGNORECASE,
)


def without_passwords(text: str) -> str:
    """Return a text with ``***`` for the passwords of the addresses in it.

    Examples
    --------
    >>> without_passwords("--storage=postgresql+psycopg://ann:s@cret@db/studies")
    '--storage=postgresql+psycopg://ann:***@db/studies'
    >>> without_passwords("postgresql://db/studies?user=ann&password=secret&sslmode=require")
    'postgresql://db/studies?user=ann&password=***&sslmode=require'
    >>> without_passwords("mysql://ann@db/studies?ssl_key=%2Fhome%2Fann%2Fkey.pem")
    'mysql://ann@db/studies?ssl_key=***'
    >>> without_passwords("no address: ?password=x")
    'no address: ?password=x'
    """
    if "://" not in text:
        return text
    return _QUERY.sub(rf"\1{HIDDEN}", _USER.sub(rf"\1{HIDDEN}@", text))
