"""A manifest's hash of itself: a flipped bit in a threshold or a name is found like one in the weights.

It finds damage and changes made by hand. Who can write the manifest can write its digest as well: against forgery there
are signatures, see `m2a_core.bundle.signing`.
"""

from __future__ import annotations

import hashlib
import json
import logging
from typing import Any

from m2a_core.errors import ModelError
from m2a_core.files import plain

KEY = "digest"

_LOG = logging.getLogger("m2a.bundle")


def digest_of(data: dict[str, Any]) -> str:
    """SHA-256, hexadecimal, of all entries but the digest, as JSON with sorted keys and without spaces.

    Args:
        data: JSON values, as `m2a_core.files.plain` gives them.

    Raises:
        ValueError: a number is not finite.
    """
    content = {key: value for key, value in data.items() if key != KEY}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def sealed(data: dict[str, Any]) -> dict[str, Any]:
    """A manifest's entries as JSON values, with their digest."""
    content = plain(data)
    return {**content, KEY: digest_of(content)}


def require_sealed(data: dict[str, Any], source: str, remedy: str) -> None:
    """Check a manifest's digest; one without, of an older m2a, is accepted with a warning.

    Args:
        data: what the manifest's JSON says.
        source: where it came from, for messages.
        remedy: what to do about a wrong one.

    Raises:
        ModelError: the digest is not that of the other entries.
    """
    if KEY not in data:
        _LOG.warning("%s: has no digest, so damage to thresholds and names would go unnoticed; %s", source, remedy)
        return
    try:
        holds = data[KEY] == digest_of(data)
    except ValueError:
        holds = False
    if not holds:
        raise ModelError(
            f"{source}: the SHA-256 of its content is not the 'digest' that it states: it is damaged or was changed by "
            f"hand; {remedy}"
        )
