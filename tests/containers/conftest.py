"""Images, built once, and one running stack for all tests."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.common.synthetic import SyntheticPair
from tests.support import compose, remote

_BUILD_SECONDS = 3600


@pytest.fixture(scope="session")
def images(repository: Path) -> dict[str, int]:
    """Size in bytes of every image that the stack runs. DOCKER_FLAGS go to docker build."""
    flags = os.environ.get("DOCKER_FLAGS", "").split()
    subprocess.run(["make", "images"], cwd=repository, check=True, timeout=_BUILD_SECONDS)
    folder = repository / "tests" / "containers" / "standins"
    for variable, image in compose.STANDINS.items():
        if variable not in os.environ:
            target = image.rpartition("/")[2].partition(":")[0]
            command = ["docker", "build", *flags, "--quiet", "--target", target, "--tag", image, str(folder)]
            environment = {**os.environ, "DOCKER_BUILDKIT": "1"}
            subprocess.run(command, check=True, timeout=_BUILD_SECONDS, env=environment)
    listed = compose.docker("image", "ls", "--quiet", "--filter", "reference=understudy/*:dev").split()
    names = compose.docker("image", "inspect", *listed, "--format", "{{index .RepoTags 0}} {{.Size}}").splitlines()
    return {name.rpartition("/")[2].partition(":")[0]: int(size) for name, size in map(str.split, names)}


@pytest.fixture(scope="session")
def stack(images: dict[str, int], tmp_path_factory: pytest.TempPathFactory) -> Iterator[compose.Stack]:
    with compose.running(tmp_path_factory.mktemp("stack")) as running:
        yield running


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> SyntheticPair:
    return remote.dancers(tmp_path_factory.mktemp("dancers"))
