"""Recipes: the request that makes an artifact, and the name that follows from it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from services.common.errors import InvalidOption

JSON = None | bool | int | float | str | Sequence["JSON"] | Mapping[str, "JSON"]

_KIND = re.compile(r"[a-z][a-z0-9_]*")
_KEY = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, order=True)
class ArtifactRef:
    """Names one artifact. Raises InvalidOption when kind or key are not of their form."""

    kind: str
    key: str

    def __post_init__(self) -> None:
        if not _KIND.fullmatch(self.kind) or not _KEY.fullmatch(self.key):
            raise InvalidOption(f"not an artifact reference: {self.kind!r}/{self.key!r}", kind=self.kind, key=self.key)

    @property
    def prefix(self) -> str:
        return f"artifacts/{self.kind}/{self.key}/"

    @property
    def manifest_key(self) -> str:
        return f"{self.prefix}manifest.json"

    def to_json(self) -> dict[str, str]:
        return {"kind": self.kind, "key": self.key}


@dataclass(frozen=True)
class Recipe:
    """Everything that decides an artifact's bytes.

    kind: what is made. stage, version: the code that makes it (raise `version` when its output changes). model:
    name and weights digest. inputs: artifacts by role. options: JSON values.
    """

    kind: str
    stage: str
    version: int
    inputs: Mapping[str, ArtifactRef | Sequence[ArtifactRef]] = field(default_factory=dict)
    options: Mapping[str, JSON] = field(default_factory=dict)
    model: str = ""

    def to_json(self) -> dict[str, Any]:
        inputs = {
            role: ref.to_json() if isinstance(ref, ArtifactRef) else [each.to_json() for each in ref]
            for role, ref in self.inputs.items()
        }
        return {
            "kind": self.kind,
            "stage": self.stage,
            "version": self.version,
            "model": self.model,
            "inputs": inputs,
            "options": dict(self.options),
        }

    @property
    def key(self) -> str:
        return hashlib.sha256(canonical_json(self.to_json())).hexdigest()

    @property
    def ref(self) -> ArtifactRef:
        return ArtifactRef(self.kind, self.key)


def canonical_json(value: object) -> bytes:
    """One byte string for one JSON value: sorted keys, no spaces, ASCII. Raises ValueError for NaN and infinities."""
    plain = json.loads(json.dumps(value, allow_nan=False))  # keys become strings before they are sorted
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()
