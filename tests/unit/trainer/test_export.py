"""What is exported computes what was trained, at any batch and window size, in ONNX Runtime and in the renderer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from services.common.errors import Internal
from services.common.nn.generator import Generator, GeneratorConfig, window_grid
from services.common.nn.pix2pixhd import Pix2PixHD, Pix2PixHDConfig
from services.renderer.generator import BATCH, WindowGenerator
from services.renderer.runtimes.openvino import OpenVino
from services.trainer import export
from tests.unit.trainer.figure import make_pose
from tests.unit.trainer.test_training import TINY


@pytest.fixture(scope="module")
def generator() -> Generator:
    torch.manual_seed(3)
    generator = Generator(TINY)
    for parameter in generator.parameters():
        if not parameter.any():  # what starts at zero would hide a mistake in the export
            torch.nn.init.normal_(parameter, std=0.05)
    return generator


@pytest.fixture(scope="module")
def model_path(generator: Generator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "generator.onnx"
    path.write_bytes(export.export_onnx(generator, 64))
    return path


def _poses(count: int, width: int, height: int) -> NDArray[np.float32]:
    return np.stack([make_pose(t / 3.0, width, height) for t in range(count)])


def _by_torch(generator: Generator, poses: NDArray[np.float32], width: int, height: int) -> NDArray[np.float32]:
    with torch.inference_mode():
        window = generator(torch.from_numpy(poses), *window_grid(width, height))
    result: NDArray[np.float32] = window.numpy()
    return result


@pytest.mark.parametrize(("count", "width", "height"), [(1, 64, 64), (5, 96, 72)])
def test_onnx_equals_torch(generator: Generator, model_path: Path, count: int, width: int, height: int) -> None:
    session = onnxruntime.InferenceSession(model_path, providers=["CPUExecutionProvider"])
    poses = _poses(count, width, height)
    columns, rows = (ticks.numpy() for ticks in window_grid(width, height))
    found = session.run(["window"], {"keypoints": poses, "columns": columns, "rows": rows})[0]
    assert np.abs(found - _by_torch(generator, poses, width, height)).max() < 1e-4


def test_renderer_equals_torch_and_repeats_itself(generator: Generator, model_path: Path) -> None:
    poses = _poses(BATCH, 96, 64)
    runner = WindowGenerator(model_path, 96, 64, OpenVino(2))
    found = runner(poses)
    expected = _by_torch(generator, poses, 96, 64).transpose(0, 2, 3, 1)
    assert np.abs(found - expected).max() < 0.03  # bfloat16 where the processor has it
    assert np.array_equal(runner(poses), found)
    assert np.array_equal(WindowGenerator(model_path, 96, 64, OpenVino(2))(poses), found)
    assert np.array_equal(runner(poses[:1]), found[:1])


def test_configuration_survives_json() -> None:
    assert GeneratorConfig.from_json(TINY.to_json()) == TINY
    with pytest.raises(ValueError, match="widths"):
        GeneratorConfig.from_json({"widths": 3})


def test_a_wrong_export_is_caught(generator: Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "_MEAN_TOLERANCE", -1.0)
    with pytest.raises(Internal, match="differs"):
        export.export_onnx(generator, 64)


def test_a_generator_that_goes_on_from_the_picture_before_does_so_in_the_renderer(tmp_path: Path) -> None:
    torch.manual_seed(5)
    network = Pix2PixHDConfig(8, downs=2, global_blocks=1, local_blocks=1, sigma_px=2.0, fine_sigma_px=1.0)
    anchor = Pix2PixHD(network)
    for parameter in anchor.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    path = tmp_path / "generator.onnx"
    path.write_bytes(export.export_onnx(anchor, 64))
    poses = _poses(5, 72, 64)
    expected, before = [], torch.zeros(1, 3, 64, 72)
    with torch.inference_mode():
        for pose in torch.from_numpy(poses):
            window = anchor(pose[None], *window_grid(72, 64), before)
            before = 2.0 * window[:, :3] - 1.0
            expected.append(window[0].permute(1, 2, 0).numpy())
    runner = WindowGenerator(path, 72, 64, OpenVino(2))
    assert runner.goes_on
    found = np.concatenate([runner(poses[:3]), runner(poses[3:])])
    assert np.abs(found - np.stack(expected)).mean() < 0.02  # bfloat16 where the processor has it
    assert (found[..., 3] == 1).all()
    again = runner(poses[:1])
    assert not np.array_equal(again, found[:1])  # the last picture came before it
    runner.restart()
    assert np.array_equal(runner(poses[:1]), found[:1])
