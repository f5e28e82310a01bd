"""The recipe of the images, by its text: what `make test-containers` builds and looks into."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.repo.tree import STAGES
from tests.support import minio

TARGETS = (*STAGES, "gateway", "store-setup", "minio")
# Built when they are asked for by name, and whose code they have.
VARIANTS = {"renderer-gpu": "renderer"}


@pytest.fixture(scope="module")
def stages(repository: Path) -> dict[str, str]:
    """Text of each stage by its name."""
    text = (repository / "deploy" / "images" / "Dockerfile").read_text()
    parts = re.split(r"(?m)^FROM \S+ AS (\S+)$", text)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_make_images_builds_every_target(repository: Path, stages: dict[str, str]) -> None:
    makefile = (repository / "Makefile").read_text()
    listed = re.findall(r"(?m)^(?:SERVICES|IMAGES) := (.*)$", makefile)
    assert {name for line in listed for name in line.split() if not name.startswith("$")} == set(TARGETS)
    assert {*TARGETS, *VARIANTS} <= set(stages)


@pytest.mark.parametrize("target", [*TARGETS, *VARIANTS])
def test_a_target_runs_without_root_and_with_its_own_code_alone(target: str, stages: dict[str, str]) -> None:
    assert "USER 10001:10001" in stages[target]
    copied = set(re.findall(r"COPY services/(\w+)", stages[target]))
    service = VARIANTS.get(target, target)
    assert copied == ({service} if service in STAGES else set())


def test_packages_come_from_locks_alone(repository: Path, stages: dict[str, str]) -> None:
    for name, text in stages.items():
        for command in re.findall(r"uv pip install (.*?)(?: && |$|;)", text.replace("\\\n", " ")):
            hashed = "--require-hashes" in command
            assert hashed or (name == "torch" and '--torch-backend "$TORCH_BACKEND"' in command), (name, command)
            for lock in re.findall(r"-r /requirements/(\S+\.txt)", command):
                assert (repository / "requirements" / lock).is_file()


def test_only_what_needs_them_carries_the_libraries_of_gpus(repository: Path) -> None:
    text = (repository / "deploy" / "images" / "Dockerfile").read_text()
    bases = {name: base for base, name in re.findall(r"(?m)^FROM (\S+) AS (\S+)$", text)}
    assert [name for name, base in bases.items() if base == "torch"] == ["trainer"]
    assert [name for name, base in bases.items() if base == "onnxruntime-gpu"] == ["renderer-gpu"]
    assert (bases["renderer"], bases["onnxruntime-gpu"]) == ("service", "service")
    for lock in ("renderer.txt", "renderer-gpu.txt"):
        packages = re.findall(r"(?m)^([\w.-]+)", (repository / "requirements" / lock).read_text())
        assert "torch" not in packages
        assert ("onnxruntime-gpu" in packages) == (lock == "renderer-gpu.txt")


def test_minio_is_the_version_that_is_tested(stages: dict[str, str]) -> None:
    assert re.findall(r"ARG MINIO_VERSION=(\S+)", stages["minio-build"]) == [minio.VERSION]
