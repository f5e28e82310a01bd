"""Every runtime paints the same pictures; which one does is chosen by what is there."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from structlog.testing import capture_logs

from services.common.errors import ServiceUnavailable
from services.common.inference import new_core
from services.common.nn.generator import Generator
from services.common.nn.pix2pixhd import Pix2PixHD
from services.renderer.generator import BATCH, WindowGenerator
from services.renderer.runtimes import choose_runtime, engines, onnxruntime
from services.renderer.runtimes.onnxruntime import CPU, CUDA, TENSORRT, OnnxRuntime, differs
from services.renderer.runtimes.openvino import OpenVino
from services.trainer.export import export_onnx
from tests.unit.common.nn.test_pix2pixhd import CONFIG
from tests.unit.trainer.figure import make_pose
from tests.unit.trainer.test_training import TINY

Floats = NDArray[np.float32]
WIDTH, HEIGHT = 96, 72
NETWORKS: dict[str, Callable[[], Generator | Pix2PixHD]] = {
    "composite": lambda: Generator(TINY),
    "pix2pixhd": lambda: Pix2PixHD(CONFIG),
}


@pytest.fixture(scope="module", params=NETWORKS)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generator.onnx of each family that has one."""
    torch.manual_seed(7)
    network = NETWORKS[request.param]()
    for parameter in network.parameters():
        if not parameter.any():  # what starts at zero would hide a mistake
            torch.nn.init.normal_(parameter, std=0.05)
    path = tmp_path_factory.mktemp(request.param) / "generator.onnx"
    path.write_bytes(export_onnx(network, 64))
    return path


def _poses(count: int) -> Floats:
    return np.stack([make_pose(t / 3.0, WIDTH, HEIGHT) for t in range(count)])


def _exactly(model: Path, keypoints: Floats, previous: Floats) -> Floats:
    """The whole network by OpenVINO, in float32 throughout."""
    core = new_core()
    compiled = core.compile_model(core.read_model(model), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    grid = {"columns": np.arange(WIDTH, dtype=np.float32), "rows": np.arange(HEIGHT, dtype=np.float32)}
    given = {"keypoints": keypoints, **grid, "previous": previous}
    # A port may have names of its own beside those of the export.
    wanted = {name: given[name] for port in compiled.inputs for name in port.get_names() & given.keys()}
    found: Floats = compiled.create_infer_request().infer(wanted)["window"]
    return found


def test_onnx_runtime_paints_what_openvino_does_in_float32(model: Path, tmp_path: Path) -> None:
    network = OnnxRuntime(2, tmp_path).open(model, WIDTH, HEIGHT, BATCH)
    assert network.batch == (1 if network.goes_on else BATCH)
    previous = 2.0 * np.random.default_rng(0).random((1, 3, HEIGHT, WIDTH), dtype=np.float32) - 1.0
    found = network(_poses(network.batch), previous)
    expected = _exactly(model, _poses(network.batch), previous)
    assert found.shape == (network.batch, 4, HEIGHT, WIDTH)
    assert expected.std() > 0.05
    assert np.abs(found - expected).max() < 5e-5


def test_a_dance_goes_on_from_picture_to_picture(model: Path, tmp_path: Path) -> None:
    """Whatever the calls: the last batch is not full, and a generator that goes on begins anew when it is told to."""
    generator = WindowGenerator(model, WIDTH, HEIGHT, OnnxRuntime(2, tmp_path))
    assert generator.goes_on == WindowGenerator(model, WIDTH, HEIGHT, OpenVino(2)).goes_on
    found = np.concatenate([generator(_poses(6)[:4]), generator(_poses(6)[4:])])
    expected, before = [], np.zeros((1, 3, HEIGHT, WIDTH), np.float32)
    for pose in _poses(6):
        window = _exactly(model, pose[None], before)[0]
        before = 2.0 * window[None, :3] - 1.0
        expected.append(window.transpose(1, 2, 0))
    assert np.abs(found - np.stack(expected)).max() < 1e-3
    generator.restart()
    assert np.array_equal(generator(_poses(6)[:4]), found[:4])


def test_onnx_runtime_repeats_its_bytes(model: Path, tmp_path: Path) -> None:
    first, second = (WindowGenerator(model, WIDTH, HEIGHT, OnnxRuntime(2, tmp_path)) for _ in range(2))
    assert np.array_equal(first(_poses(3)), second(_poses(3)))


def test_a_provider_that_does_not_open_is_passed_over_and_named(tmp_path: Path) -> None:
    runtime = OnnxRuntime(1, tmp_path, [CUDA])
    if runtime.provider == CUDA:
        pytest.skip("this machine has a GPU")
    assert runtime.provider == CPU
    assert set(runtime.refused) == {CUDA}
    assert "built without it" in runtime.refused[CUDA] or "no NVIDIA driver" in runtime.refused[CUDA]


def test_auto_falls_back_to_openvino_where_no_gpu_opens(tmp_path: Path) -> None:
    if OnnxRuntime(1, tmp_path).provider != CPU:
        pytest.skip("this machine has a GPU")
    with capture_logs() as lines:
        runtime = choose_runtime("auto", 1, tmp_path)
    assert isinstance(runtime, OpenVino)
    (line,) = lines
    assert (line["runtime"], line["provider"]) == ("openvino", "CPU")


@pytest.mark.parametrize(("name", "kind"), [("openvino", OpenVino), ("onnxruntime", OnnxRuntime)])
def test_a_runtime_is_had_by_its_name_and_said_in_one_line(name: str, kind: type, tmp_path: Path) -> None:
    with capture_logs() as lines:
        runtime = choose_runtime(name, 1, tmp_path)
    assert isinstance(runtime, kind)
    (line,) = lines
    assert (line["runtime"], line["provider"]) == (name, runtime.provider)
    if runtime.provider == CPU:
        assert line["log_level"] == "warning"
        assert set(line["refused"]) == {TENSORRT, CUDA}


@pytest.mark.parametrize("package", ["onnxruntime", "onnx"])
def test_what_is_not_installed_is_named_when_it_is_asked_for(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # an import of it now fails as one of what is not there does
    with pytest.raises(ServiceUnavailable, match=rf"{package}.*requirements/renderer-gpu\.txt"):
        choose_runtime("onnxruntime", 1, tmp_path)
    assert isinstance(choose_runtime("auto", 1, tmp_path), OpenVino)


def test_of_an_error_what_it_says_is_kept_and_not_where_it_was() -> None:
    place = (
        "/onnxruntime_src/core/cuda_call.cc:154 std::conditional_t<THRW, void> Call(ERRTYPE, int) [with THRW = true]"
    )
    said = "CUDA failure 100: no CUDA-capable device is detected ; file=/onnxruntime_src/cuda.cc ; line=355"
    assert onnxruntime._said(RuntimeError(f"{place} {place}\n{said}")) == said
    assert onnxruntime._said(RuntimeError("libcuda.so.1: cannot open")) == "libcuda.so.1: cannot open"
    assert onnxruntime._said(ValueError()) == "ValueError"


def test_pictures_that_rounding_does_not_explain_are_refused() -> None:
    picture = np.full((1, 4, 8, 8), 0.5, np.float32)
    assert not differs(picture + np.float32(0.004), picture)
    assert "by 0.1 on average" in differs(picture + np.float32(0.1), picture)
    assert differs(np.full_like(picture, np.nan), picture)


def test_a_performer_that_a_provider_cannot_render_is_rendered_on_the_cpu(model: Path, tmp_path: Path) -> None:
    """As on a machine whose GPU opens, and then fails at this network."""
    runtime = OnnxRuntime(1, tmp_path)
    if runtime.provider != CPU:
        pytest.skip("this machine has a GPU")
    plain = WindowGenerator(model, WIDTH, HEIGHT, runtime)(_poses(2))
    runtime._gpu_providers = [TENSORRT, CUDA]
    with capture_logs() as lines, pytest.warns(UserWarning, match="not in available provider names"):
        found = WindowGenerator(model, WIDTH, HEIGHT, runtime)(_poses(2))
    assert np.array_equal(found, plain)
    assert [line["provider"] for line in lines] == [TENSORRT, CUDA]
    assert all("does not open" in line["reason"] for line in lines)
    assert not list((tmp_path / "engines").iterdir())


def test_engines_of_two_performers_never_meet_and_old_ones_go(tmp_path: Path) -> None:
    folders = [engines.engine_folder(tmp_path, bytes([number]), "64x64") for number in range(20)]
    assert len(set(folders)) == 20
    assert engines.engine_folder(tmp_path, bytes([0]), "72x64") not in folders
    for age, folder in enumerate(folders[:-1]):
        engines.make_engine_folder(folder)
        os.utime(folder, (1000 + age, 1000 + age))
    engines.make_engine_folder(folders[0])  # used again
    engines.make_engine_folder(folders[-1])
    kept = set(tmp_path.iterdir())
    assert len(kept) == engines._KEPT
    assert {folders[0], folders[-1]} <= kept
    assert folders[1] not in kept
