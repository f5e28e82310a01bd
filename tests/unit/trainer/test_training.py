"""The loop on tiny frames: it learns, repeats itself, and goes on from a checkpoint as if never cut off."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from services.common.artifacts import Scratch
from services.common.errors import Cancelled, ClipTooShort
from services.common.nn.generator import GeneratorConfig
from services.common.store import MemoryObjectStore
from services.trainer.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from services.trainer.data import TrainingSet, load_training_set, split_clip
from services.trainer.device import choose_device
from services.trainer.presets import TrainingConfig, training_config
from services.trainer.training import Hooks, Losses, Training, train
from tests.unit.trainer.figure import Study, make_study

TINY = GeneratorConfig(widths=(16, 32, 32), sigma_px=2.0, fine_sigma_px=1.0)


def tiny_config(iterations: int) -> TrainingConfig:
    config = training_config("preview", "composite", iterations, 7)
    return replace(config, resolution=64, batch=2, generator=TINY, warmup=2)


def load(study: Study, config: TrainingConfig) -> TrainingSet:
    split = split_clip(study.track, study.camera, config.resolution, config.most_frames)
    return load_training_set(split, study.camera, study.plate, study, lambda: None)


@pytest.fixture(scope="module")
def study() -> Study:
    return make_study(36)


def _hooks(scratch: Scratch | None = None, stop_at: int = -1, seen: list[int] | None = None) -> Hooks:
    calls = 0

    def check() -> None:
        nonlocal calls
        if calls == stop_at:
            raise Cancelled("stopped by the test")
        calls += 1

    def save(checkpoint: Checkpoint) -> None:
        if scratch is not None:
            save_checkpoint(scratch, checkpoint)

    def sample(step: int, losses: Losses) -> None:
        assert losses
        if seen is not None:
            seen.append(step)

    return Hooks(check, save, lambda step, left: None, sample)


def _weights(training: Training) -> dict[str, torch.Tensor]:
    return {**training.average.state_dict(), **{f"g.{k}": v for k, v in training.generator.state_dict().items()}}


def test_losses_fall(study: Study) -> None:
    config = tiny_config(40)
    training = Training(config, load(study, config), choose_device("cpu"))
    first = sum(training.iterate().values())
    seen: list[int] = []
    train(training, _hooks(seen=seen))
    assert training.step == 40
    assert seen[-1] == 40
    assert sum(training.iterate().values()) < 0.8 * first


def test_cut_off_and_resumed_is_bit_for_bit_the_undisturbed_run(study: Study) -> None:
    config = tiny_config(6)
    data, device = load(study, config), choose_device("cpu")
    whole = Training(config, data, device)
    train(whole, _hooks())

    scratch = Scratch(MemoryObjectStore(), "0" * 64)
    with pytest.raises(Cancelled):
        train(Training(config, data, device), _hooks(scratch, stop_at=3))
    resumed = Training(config, data, device)
    checkpoint, refused = load_checkpoint(scratch, config.to_json())
    assert checkpoint is not None
    assert not refused
    resumed.restore(checkpoint)
    assert resumed.step == 3
    train(resumed, _hooks())
    expected = _weights(whole)
    assert all(torch.equal(value, expected[name]) for name, value in _weights(resumed).items())


def test_same_seed_same_weights_other_seed_others(study: Study) -> None:
    config = tiny_config(2)
    data, device = load(study, config), choose_device("cpu")
    runs = [Training(each, data, device) for each in (config, config, replace(config, seed=8))]
    for run in runs:
        train(run, _hooks())
    weights = [_weights(run)["last.weight"] for run in runs]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_losses_that_are_not_finite_stop_the_run(study: Study) -> None:
    config = tiny_config(3)
    training = Training(config, load(study, config), choose_device("cpu"))
    with torch.no_grad():
        training.generator.last.weight.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="0 iterations"):
        training.iterate()


def test_too_few_valid_frames_are_refused_with_numbers(study: Study) -> None:
    valid = np.zeros(36, dtype=np.bool_)
    valid[:10] = True
    with pytest.raises(ClipTooShort, match=r"at least 24 frames .* 10 of 36"):
        split_clip(replace(study.track, valid=valid), study.camera, 64, 100)


def test_heldout_frames_are_the_end_and_never_trained_on(study: Study) -> None:
    split = split_clip(study.track, study.camera, 64, 100)
    assert split.training.max() < split.heldout.min()
    assert len(split.heldout) == 7
    assert len(split_clip(study.track, study.camera, 64, 10).training) == 10


def test_stored_windows_show_what_the_registered_camera_shows(study: Study) -> None:
    config = tiny_config(1)
    data = load(study, config)
    margin, size = data.margin, data.resolution
    frames = data.frames[:, :, margin : margin + size, margin : margin + size].float()
    background = (frames[:, 3:4] == 0) & (frames[:, 4:] == 255)
    offsets = data.plate_offsets.long()
    difference = []
    for row in range(len(data)):
        x, y = offsets[row].tolist()
        ys = torch.arange(y, y + size).clamp(0, data.plate.shape[1] - 1)
        xs = torch.arange(x, x + size).clamp(0, data.plate.shape[2] - 1)
        plate = data.plate[:, ys][:, :, xs].float()
        difference.append((frames[row, :3] - plate).abs().mean(0)[background[row, 0]].mean())
    assert torch.stack(difference).max() < 6.0  # of 255: interpolation of a striped wall, no displacement
