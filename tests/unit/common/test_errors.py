"""The tree of errors: every class says what it means, for both protocols, in one place."""

from __future__ import annotations

import copy
import http
import re

import grpc
import pytest

from services.common import errors
from services.common.errors import UnderstudyError, all_errors

TREE = all_errors()
CONCRETE = [kind for kind in TREE if kind is not UnderstudyError]
CLIENT_CLOSED_REQUEST = 499  # nginx's, for callers that went away; not in the standard library


def drawn() -> list[tuple[str, str | None]]:
    """(class, its parent) as the module's docstring draws them."""
    found: list[tuple[str, str | None]] = []
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r" {4}((?:[│ ] {3})*)(?:[├└]── )?(\w+)", line)
        if match is None:
            continue
        depth = len(match[1]) // 4 + ("── " in line)
        path[depth:] = [match[2]]
        found.append((match[2], path[depth - 1] if depth else None))
    return found


def test_the_drawing_is_the_tree() -> None:
    assert drawn() == [(kind.__name__, kind.__base__.__name__ if kind in CONCRETE else None) for kind in TREE]  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", TREE, ids=lambda kind: kind.__name__)
def test_every_error_says_what_it_means(kind: type[UnderstudyError]) -> None:
    assert grpc.StatusCode[kind.grpc_code] is not grpc.StatusCode.OK
    assert kind.http_status == CLIENT_CLOSED_REQUEST or http.HTTPStatus(kind.http_status) >= http.HTTPStatus.BAD_REQUEST
    assert re.fullmatch(r"[A-Z][A-Z0-9_]*[A-Z0-9]", kind.reason)
    assert len(kind.reason) <= 63  # google.rpc.ErrorInfo
    assert isinstance(kind.retryable, bool)


@pytest.mark.parametrize("kind", CONCRETE, ids=lambda kind: kind.__name__)
def test_the_reason_is_the_name(kind: type[UnderstudyError]) -> None:
    assert kind.reason == re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).upper()
    assert errors.by_reason(kind.reason) is kind


def test_reasons_are_unique() -> None:
    assert len({kind.reason for kind in CONCRETE}) == len(CONCRETE)


def test_an_unknown_reason_is_internal() -> None:
    assert errors.by_reason("FROM_A_NEWER_SERVICE") is errors.Internal
    assert errors.by_reason("") is errors.Internal


@pytest.mark.parametrize("kind", CONCRETE, ids=lambda kind: kind.__name__)
def test_client_faults_and_ours_agree_in_both_protocols(kind: type[UnderstudyError]) -> None:
    theirs = {"INVALID_ARGUMENT", "NOT_FOUND", "PERMISSION_DENIED", "FAILED_PRECONDITION", "CANCELLED",
              "UNAUTHENTICATED"}  # fmt: skip
    if kind is errors.QuotaExceeded:  # gRPC has one code for a full disk and for a caller's limit
        return
    assert (kind.http_status < http.HTTPStatus.INTERNAL_SERVER_ERROR) == (kind.grpc_code in theirs)


@pytest.mark.parametrize("kind", TREE, ids=lambda kind: kind.__name__)
def test_an_error_is_rebuilt_whole(kind: type[UnderstudyError]) -> None:
    error = copy.copy(kind("what happened", frames=412, path="a/b"))
    assert type(error) is kind
    assert (error.message, str(error)) == ("what happened", "what happened")
    assert error.metadata == {"frames": "412", "path": "a/b"}


def test_any_word_may_name_metadata() -> None:
    assert errors.Internal("text", message="m", self="s").metadata == {"message": "m", "self": "s"}
