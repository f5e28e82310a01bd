"""Imports go one way: proto -> services/common -> services/<stage> (never each other) -> gateway."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.repo.tree import ROOT, STAGES, imports, module_of, python_files

# Packages of this repository that code under a folder may import, apart from its own.
ALLOWED = {
    "services/common": ("understudy", "services.common"),
    **{f"services/{stage}": ("understudy", "services.common", f"services.{stage}") for stage in STAGES},
    "gateway": ("understudy", "services", "gateway"),
    "deploy": ("understudy", "services.common", "deploy"),
}
# Written from the whole project, and part of no image.
DOCUMENTS = {"deploy/settings.py"}
OURS = ("understudy", "services", "gateway", "deploy", "tests")
TRANSPORT = ("grpc", "grpc_health", "grpc_reflection", "grpc_status", "fastapi", "starlette", "uvicorn",
             "prometheus_client")  # fmt: skip
# Where gRPC meets the stage, in a stage's folder; and what the server is made of, in services/common.
SPEAKS_GRPC = {"__main__.py", "servicer.py"}
COMMON_TRANSPORT = {"server.py", "interceptors.py", "rpc.py", "metrics.py", "gpu.py", "tls.py", "probe.py"}
MODEL_LIBRARIES = ("torch", "mediapipe", "openvino", "onnxruntime", "onnx", "onnxscript", "tensorflow", "jax")
# The trainer's networks and its loop are torch's own classes, not a backend that is chosen.
WRITTEN_IN = {"trainer": {"torch"}}


def within(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


@pytest.mark.parametrize("folder", ALLOWED)
def test_imports_go_one_way(folder: str) -> None:
    wrong = [
        f"{path}:{line} imports {name}"
        for path in python_files(folder.partition("/")[0])
        if path.is_relative_to(folder) and path.as_posix() not in DOCUMENTS
        for line, name in imports(path)
        if within(name, OURS) and not within(name, ALLOWED[folder])
    ]
    assert not wrong


def test_every_folder_of_code_has_its_rule() -> None:
    places = {Path(*path.parts[:2]).as_posix() for path in python_files("services") if len(path.parts) > 2}
    assert places == {folder for folder in ALLOWED if folder.startswith("services/")}


def test_workers_do_not_speak_to_the_network_of_calls() -> None:
    wrong = []
    for path in python_files("services"):
        speaks = COMMON_TRANSPORT if path.parts[1] == "common" else SPEAKS_GRPC
        if len(path.parts) == 3 and path.name in speaks:
            continue
        wrong += [f"{path}:{line} imports {name}" for line, name in imports(path) if within(name, TRANSPORT)]
    assert not wrong


PROGRAM = """
import importlib, json, sys
for name in sys.argv[1].split(","):
    importlib.import_module(name)
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def loaded_by(*modules: str) -> set[str]:
    command = [sys.executable, "-c", PROGRAM, ",".join(modules)]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=55)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("stage", STAGES)
def test_importing_a_service_imports_no_model_library(stage: str) -> None:
    starts = [f"services.{stage}.{name}" for name in ("__main__", "config", "servicer", "worker")]
    assert loaded_by(*starts).intersection(MODEL_LIBRARIES) <= WRITTEN_IN.get(stage, set())


def test_importing_the_gateway_imports_no_model_library() -> None:
    assert not loaded_by("gateway.__main__", "gateway.cli").intersection(MODEL_LIBRARIES)


def test_importing_the_downloader_imports_no_opencv() -> None:
    """Its image holds none, of which OpenCV would be a quarter."""
    own = [module_of(path) for path in python_files("services") if path.is_relative_to("services/downloader")]
    loaded = loaded_by(*own)
    assert {"av", "PIL"} <= loaded
    assert "cv2" not in loaded


def test_everything_can_be_imported_without_side_effects() -> None:
    modules = [module_of(path) for path in python_files("services", "gateway")]
    before = {path for path in ROOT.iterdir() if path.name != "__pycache__"}
    loaded_by(*modules)
    assert {path for path in ROOT.iterdir() if path.name != "__pycache__"} == before
