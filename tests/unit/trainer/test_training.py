"""The loop on tiny frames: it learns, repeats itself, and goes on from a checkpoint as if never cut off."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from services.common.artifacts import Scratch
from services.common.errors import Cancelled, ClipTooShort
from services.common.nn.generator import GeneratorConfig
from services.common.nn.pix2pixhd import Pix2PixHDConfig
from services.common.store import MemoryObjectStore
from services.trainer.augment import Batch
from services.trainer.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from services.trainer.composite import CompositeTraining
from services.trainer.data import TrainingSet, load_training_set, split_clip
from services.trainer.device import Device, choose_device
from services.trainer.families import begin_training, paints_everything
from services.trainer.presets import AnchorConfig, Config, TrainingConfig, training_config
from services.trainer.training import Hooks, Losses, Training, train
from tests.unit.trainer.figure import Study, make_study

TINY = GeneratorConfig(widths=(16, 32, 32), sigma_px=2.0, fine_sigma_px=1.0)


def tiny_config(iterations: int) -> TrainingConfig:
    config = training_config("preview", "composite", iterations, 7)
    assert isinstance(config, TrainingConfig)
    return replace(config, resolution=64, batch=2, generator=TINY, warmup=2)


def tiny_anchor(iterations: int) -> AnchorConfig:
    config = training_config("preview", "pix2pixhd", iterations, 7)
    assert isinstance(config, AnchorConfig)
    network = Pix2PixHDConfig(8, downs=2, global_blocks=1, local_blocks=1, sigma_px=2.0, fine_sigma_px=1.0)
    return replace(config, resolution=64, batch=2, generator=network, judge_width=8, judge_scales=2)


FAMILIES: dict[str, Callable[[int], Config]] = {"composite": tiny_config, "pix2pixhd": tiny_anchor}
EXACT = Device(torch.device("cpu"), bfloat16=False)
families = pytest.mark.parametrize("family", FAMILIES)


def load(study: Study, config: Config) -> TrainingSet:
    still = paints_everything(config)
    split = split_clip(study.track, study.camera, config.resolution, config.most_frames, still=still)
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
    return training.checkpoint().tensors


def _gradients(training: Training, optimiser: str) -> torch.Tensor:
    """Averages of the gradients of one optimiser, in a row: those of some biases alone are nothing but rounding."""
    tensors = _weights(training).items()
    return torch.cat([
        value.flatten() for name, value in tensors
        if name.startswith(f"optimiser.{optimiser}/") and name.endswith("exp_avg")
    ])  # fmt: skip


def test_losses_fall(study: Study) -> None:
    config = tiny_config(40)
    training = begin_training(config, load(study, config), choose_device("cpu"))
    first = sum(training.iterate().values())
    seen: list[int] = []
    train(training, _hooks(seen=seen))
    assert training.step == 40
    assert seen[-1] == 40
    assert sum(training.iterate().values()) < 0.8 * first


@families
def test_cut_off_and_resumed_is_bit_for_bit_the_undisturbed_run(study: Study, family: str) -> None:
    config = FAMILIES[family](6)
    data, device = load(study, config), choose_device("cpu")
    whole = begin_training(config, data, device)
    train(whole, _hooks())

    scratch = Scratch(MemoryObjectStore(), "0" * 64)
    with pytest.raises(Cancelled):
        train(begin_training(config, data, device), _hooks(scratch, stop_at=3))
    resumed = begin_training(config, data, device)
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
    runs = [begin_training(each, data, device) for each in (config, config, replace(config, seed=8))]
    for run in runs:
        train(run, _hooks())
    weights = [_weights(run)["generator/last.weight"] for run in runs]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_losses_that_are_not_finite_stop_the_run(study: Study) -> None:
    config = tiny_config(3)
    training = CompositeTraining(config, load(study, config), choose_device("cpu"))
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


@families
def test_too_little_memory_divides_the_batch_and_goes_on(
    study: Study, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = FAMILIES[family](2)
    data = load(study, config)
    whole, divided = (begin_training(config, data, EXACT) for _ in range(2))
    train(whole, _hooks())

    backward, sizes = divided.backward, list[int]()

    def failing_once(batches: Sequence[Batch], share: float) -> dict[str, torch.Tensor]:
        sizes.append(len(batches[0]))
        losses = backward(batches, share)
        if len(sizes) == 1:  # as CUDA says it, and after gradients have been left
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return losses

    monkeypatch.setattr(divided, "backward", failing_once)
    train(divided, _hooks())
    assert sizes == [2, 1, 1, 1, 1]
    assert divided.parts == 2
    for optimiser in whole.optimisers:
        found, expected = (_gradients(run, optimiser) for run in (divided, whole))
        assert (found - expected).norm() < 0.02 * expected.norm(), optimiser


def test_memory_for_no_single_sample_and_other_errors_stop_the_run(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config(2)
    training = begin_training(config, load(study, config), choose_device("cpu"))
    sizes = []

    def failing(batches: Sequence[Batch], share: float) -> dict[str, torch.Tensor]:
        sizes.append(len(batches[0]))
        raise RuntimeError(said)

    monkeypatch.setattr(training, "backward", failing)
    said = "[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory: you tried to allocate 9"
    with pytest.raises(RuntimeError, match="DefaultCPUAllocator"):
        training.iterate()
    assert sizes == [2, 1]
    said = "mat1 and mat2 shapes cannot be multiplied"
    with pytest.raises(RuntimeError, match="mat1"):
        training.iterate()
    assert sizes == [2, 1, 1]
