"""Which family a configuration belongs to."""

from __future__ import annotations

from services.trainer.composite import CompositeTraining
from services.trainer.data import TrainingSet
from services.trainer.device import Device
from services.trainer.distributed import ALONE, World
from services.trainer.perceptual import Perceptual
from services.trainer.pix2pixhd import AnchorTraining
from services.trainer.presets import AnchorConfig, Config
from services.trainer.training import Training


def paints_everything(config: Config) -> bool:
    """Whether the background is generated with the person: alpha is 1, and the window stands still to learn it."""
    return isinstance(config, AnchorConfig)


def begin_training(
    config: Config, data: TrainingSet, device: Device, world: World = ALONE, perceptual: Perceptual | None = None
) -> Training:
    """A run of the configuration's family, before its first iteration. perceptual: a further loss, where there is."""
    training: Training
    if isinstance(config, AnchorConfig):
        training = AnchorTraining(config, data, device, world)
    else:
        training = CompositeTraining(config, data, device, world)
    training.perceptual = device.place(perceptual) if perceptual is not None else None
    return training
