"""Errors as RFC 9457 problem documents."""

from __future__ import annotations

from services.common.errors import DOMAIN, UnderstudyError


def problem_of(error: UnderstudyError, instance: str) -> dict[str, object]:
    """The document. instance: path of the request."""
    return {
        "type": f"urn:{DOMAIN}:{error.reason.lower()}",
        "title": error.reason.replace("_", " ").capitalize(),
        "status": error.http_status,
        "detail": error.message,
        "instance": instance,
        "reason": error.reason,
        "retryable": error.retryable,
        "metadata": error.metadata,
    }
