"""Artifacts: immutable outputs of pure stages.

The key of an artifact is the SHA-256 of the request that makes it (`Recipe`). Its data objects are stored first,
each named by the SHA-256 of its own bytes, so that racing or restarted writers can never mix; `manifest.json` is
put last, create-only: the manifest is the commit. No manifest, no artifact.

    artifacts/<kind>/<key>/<sha256 of the bytes>
    artifacts/<kind>/<key>/manifest.json
    scratch/<key>/<name>                           work in progress: checkpoints, samples
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from services.common.errors import ArtifactNotFound, DataCorrupted, ObjectNotFound
from services.common.recipe import JSON, ArtifactRef, Recipe, canonical_json
from services.common.store import FileObjectStore, MeasuredStore, ObjectStore
from services.common.store.disk import disk_errors

__all__ = [
    "JSON",
    "Artifact",
    "ArtifactRef",
    "ArtifactWriter",
    "Artifacts",
    "Facts",
    "Recipe",
    "Scratch",
    "canonical_json",
]

Facts = dict[str, Any]

MANIFEST_FORMAT: Final = 1


class Artifact:
    """A committed artifact, read object by object. Checksums are verified on every read."""

    def __init__(self, owner: Artifacts, ref: ArtifactRef, manifest: Mapping[str, Any]) -> None:
        self._owner = owner
        self._manifest = manifest
        self.ref = ref

    @property
    def facts(self) -> Facts:
        return dict(self._manifest["facts"])

    @property
    def recipe(self) -> dict[str, Any]:
        return dict(self._manifest["recipe"])

    def names(self) -> list[str]:
        return sorted(self._manifest["objects"])

    def size_bytes(self, name: str) -> int:
        return int(self._entry(name)["size_bytes"])

    def sha256(self, name: str) -> str:
        return str(self._entry(name)["sha256"])

    def object_key(self, name: str) -> str:
        return f"{self.ref.prefix}{self.sha256(name)}"

    def read_bytes(self, name: str) -> bytes:
        """Raises DataCorrupted when the bytes are not those that were committed, or are gone."""
        try:
            data = self._owner.store.get(self.object_key(name))
        except ObjectNotFound as error:
            raise self.damaged(name, "is gone") from error
        if hashlib.sha256(data).hexdigest() != self.sha256(name):
            raise self.damaged(name, "differs from its checksum")
        return data

    def read_json(self, name: str) -> Any:
        return json.loads(self.read_bytes(name))

    def read_arrays(self, name: str) -> dict[str, NDArray[Any]]:
        """Arrays of a safetensors object, by name. Raises DataCorrupted."""
        try:
            return safetensors.numpy.load(self.read_bytes(name))
        except safetensors.SafetensorError as error:
            raise self.damaged(name, f"cannot be read ({error})") from error

    def local_path(self, name: str) -> Path:
        """A verified local file with the object's bytes, to read only. It may vanish when the cache is cleaned."""
        return self._owner.local_copy(self.object_key(name), self.sha256(name), self, name)

    def _entry(self, name: str) -> Mapping[str, Any]:
        try:
            entry: Mapping[str, Any] = self._manifest["objects"][name]
        except KeyError:
            raise ArtifactNotFound(
                f"{self.ref.kind} {self.ref.key[:12]} has no {name!r}, only {', '.join(self.names())}",
                name=name,
            ) from None
        return entry

    def damaged(self, name: str, what: str) -> DataCorrupted:
        return DataCorrupted(
            f"{name} of {self.ref.kind} {self.ref.key[:12]} {what}; run the same command again and it is made anew",
            kind=self.ref.kind, key=self.ref.key, object=name,
        )  # fmt: skip


class ArtifactWriter:
    """Collects the data objects of one artifact before its commit."""

    def __init__(self, store: ObjectStore, recipe: Recipe) -> None:
        self._store = store
        self.recipe = recipe
        self.objects: dict[str, dict[str, Any]] = {}

    def put_bytes(self, name: str, data: bytes) -> None:
        digest = hashlib.sha256(data).hexdigest()
        self._store.put(f"{self.recipe.ref.prefix}{digest}", data)
        self.objects[name] = {"sha256": digest, "size_bytes": len(data)}

    def put_file(self, name: str, path: Path) -> None:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        self._store.put_file(f"{self.recipe.ref.prefix}{digest}", path)
        self.objects[name] = {"sha256": digest, "size_bytes": path.stat().st_size}

    def put_arrays(self, name: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Stores arrays as safetensors, tensors sorted by name so that equal arrays give equal bytes."""
        ordered = {key: np.ascontiguousarray(arrays[key]) for key in sorted(arrays)}
        self.put_bytes(name, safetensors.numpy.save(ordered))

    def put_json(self, name: str, value: object) -> None:
        self.put_bytes(name, canonical_json(value))


class Scratch:
    """Work in progress of one artifact, by name: kept over restarts, dropped after the commit."""

    def __init__(self, store: ObjectStore, key: str) -> None:
        self._store = store
        self._prefix = f"scratch/{key}/"

    def object_key(self, name: str) -> str:
        return f"{self._prefix}{name}"

    def put(self, name: str, data: bytes) -> None:
        self._store.put(self.object_key(name), data)

    def get(self, name: str) -> bytes:
        return self._store.get(self.object_key(name))

    def list(self) -> list[str]:
        return [info.key.removeprefix(self._prefix) for info in self._store.list(self._prefix)]

    def delete(self, name: str) -> None:
        self._store.delete(self.object_key(name))

    def clear(self) -> None:
        for name in self.list():
            self.delete(name)


class Artifacts:
    """All artifacts of one store. `cache_dir` holds local copies of objects of a store that is elsewhere."""

    def __init__(self, store: ObjectStore, cache_dir: Path) -> None:
        self.store = store
        self._cache_dir = cache_dir

    def exists(self, ref: ArtifactRef) -> bool:
        return self.store.stat(ref.manifest_key) is not None

    def open(self, ref: ArtifactRef) -> Artifact:
        """Raises ArtifactNotFound when it is not committed, DataCorrupted when its manifest cannot be read."""
        found = self.find(ref)
        if found is None:
            raise ArtifactNotFound(f"no {ref.kind} {ref.key[:12]} in the store", kind=ref.kind, key=ref.key)
        return found

    def find(self, ref: ArtifactRef) -> Artifact | None:
        """The artifact, or None when it is not committed."""
        try:
            data = self.store.get(ref.manifest_key)
        except ObjectNotFound:
            return None
        try:
            return Artifact(self, ref, _checked_manifest(data, ref))
        except (ValueError, KeyError, TypeError) as error:
            raise DataCorrupted(
                f"the manifest of {ref.kind} {ref.key[:12]} cannot be read ({error}); run the same command again",
                kind=ref.kind, key=ref.key, object="manifest.json",
            ) from error  # fmt: skip

    def write(self, recipe: Recipe) -> ArtifactWriter:
        return ArtifactWriter(self.store, recipe)

    def commit(self, writer: ArtifactWriter, facts: Facts) -> Artifact:
        """Puts the manifest, create-only. When somebody else was first, theirs is the artifact and is returned."""
        manifest: dict[str, Any] = {
            "format": MANIFEST_FORMAT,
            "recipe": writer.recipe.to_json(),
            "objects": writer.objects,
            "facts": facts,
        }
        manifest["checksum"] = hashlib.sha256(canonical_json(manifest)).hexdigest()
        self.store.put_new(writer.recipe.ref.manifest_key, canonical_json(manifest))
        return self.open(writer.recipe.ref)

    def scratch(self, key: str) -> Scratch:
        return Scratch(self.store, key)

    def delete(self, ref: ArtifactRef) -> None:
        """Removes an artifact, manifest first, so that nobody finds half of one."""
        self.store.delete(ref.manifest_key)
        for info in list(self.store.list(ref.prefix)):
            self.store.delete(info.key)

    def refs(self, kind: str = "") -> Iterator[ArtifactRef]:
        """Every committed artifact, of one kind when it is given."""
        for info in self.store.list(f"artifacts/{kind}/" if kind else "artifacts/"):
            _, found, key, name = info.key.split("/")
            if name == "manifest.json":
                yield ArtifactRef(found, key)

    def local_copy(self, object_key: str, digest: str, artifact: Artifact, name: str) -> Path:
        """See `Artifact.local_path`. Files of a local store are used where they are."""
        store = self.store.inner if isinstance(self.store, MeasuredStore) else self.store
        if isinstance(store, FileObjectStore):
            path = store.path(object_key)
            _verify(path, digest, artifact, name)
            return path
        path = self._cache_dir / digest
        if not _holds(path, digest):
            with disk_errors(self._cache_dir):
                self._cache_dir.mkdir(parents=True, exist_ok=True)
            part = self._cache_dir / f"{uuid.uuid4().hex}.tmp"
            try:
                try:
                    self.store.get_file(object_key, part)
                except ObjectNotFound as error:
                    raise artifact.damaged(name, "is gone") from error
                _verify(part, digest, artifact, name)
                os.replace(part, path)
            finally:
                part.unlink(missing_ok=True)
        return path


def _checked_manifest(data: bytes, ref: ArtifactRef) -> dict[str, Any]:
    """Raises ValueError, KeyError or TypeError for bytes that are not the manifest which was committed as `ref`."""
    manifest = json.loads(data)
    if manifest["format"] != MANIFEST_FORMAT:
        raise ValueError(f"unknown manifest format {manifest['format']!r}")
    rest = {name: value for name, value in manifest.items() if name != "checksum"}
    if hashlib.sha256(canonical_json(rest)).hexdigest() != manifest["checksum"]:
        raise ValueError("it differs from its checksum")
    if hashlib.sha256(canonical_json(manifest["recipe"])).hexdigest() != ref.key:
        raise ValueError("it belongs to another artifact")
    return dict(manifest)


def _holds(path: Path, digest: str) -> bool:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == digest
    except FileNotFoundError:
        return False


def _verify(path: Path, digest: str, artifact: Artifact, name: str) -> None:
    if not _holds(path, digest):
        raise artifact.damaged(name, "differs from its checksum" if path.exists() else "is gone")
