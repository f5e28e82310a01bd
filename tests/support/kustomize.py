"""What kustomize makes of an overlay: by `kubectl`, or by kustomize built from its pinned source where there is Go."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from tests.support.minio import tools_folder

VERSION = "v5.7.1"
_BUILD_SECONDS = 900
Object = dict[str, Any]


def reason_missing() -> str:
    """Why overlays cannot be built on this machine; empty when they can."""
    if shutil.which("kubectl") or _binary().exists() or shutil.which("go"):
        return ""
    return "kustomize comes with kubectl or is built by Go, and this machine has neither"


@functools.cache
def command() -> tuple[str, ...]:
    """The command that takes a folder and prints its objects."""
    if found := shutil.which("kubectl"):
        return found, "kustomize"
    binary = _binary()
    if not binary.exists():
        with tempfile.TemporaryDirectory(dir=binary.parent) as folder:
            environment = {**os.environ, "GOBIN": folder, "CGO_ENABLED": "0"}
            install = ["go", "install", f"sigs.k8s.io/kustomize/kustomize/v5@{VERSION}"]
            subprocess.run(install, env=environment, check=True, capture_output=True, timeout=_BUILD_SECONDS)
            Path(folder, "kustomize").replace(binary)
    return str(binary), "build"


def build(repository: Path, overlay: str, folder: Path) -> list[Object]:
    """The objects of `k8s/overlays/<overlay>`, from a copy in `folder` with secrets of its own."""
    copy = folder / "k8s"
    if not copy.exists():
        shutil.copytree(repository / "k8s", copy, ignore=shutil.ignore_patterns("secrets.env"))
        secrets = [sys.executable, str(repository / "deploy/make_secrets.py"), str(copy / "overlays/local/secrets.env")]
        subprocess.run(secrets, check=True, capture_output=True)
    done = subprocess.run(
        [*command(), str(copy / "overlays" / overlay)], check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr  # it warns of what it will not take for long
    return [each for each in yaml.safe_load_all(done.stdout) if each]


def _binary() -> Path:
    return tools_folder() / f"kustomize-{VERSION}"
