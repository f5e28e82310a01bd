"""Training of the `pix2pixhd` family, the anchor: Wang et al. (CVPR 2018) with Chan et al.'s (ICCV 2019) two frames."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from services.common.nn.pix2pixhd import Pix2PixHD
from services.common.nn.strokes import CHANNELS
from services.common.nn.window import LEAD
from services.trainer.augment import Batch, Draw, whole_batch
from services.trainer.data import TrainingSet
from services.trainer.device import Device
from services.trainer.discriminators import Features, MultiScaleDiscriminator, feature_matching, judged_as
from services.trainer.distributed import ALONE, World
from services.trainer.presets import AnchorConfig
from services.trainer.training import Floats, Training


class AnchorTraining(Training):
    """Generator and discriminators, taught in the paper's order: global generator, local enhancer, both.

    Each sample is two consecutive frames. The first is generated with nothing before it, the second with the first
    one's result before it; the discriminators see both poses and both pictures at once, so that a change between
    frames which is not real gives them away. Nothing is averaged and nothing moved about: the papers do neither.
    """

    config: AnchorConfig

    def __init__(self, config: AnchorConfig, data: TrainingSet, device: Device, world: World = ALONE) -> None:
        super().__init__(config, data, device, world)
        self.generator = device.place(Pix2PixHD(config.generator))
        inputs = 2 * (len(CHANNELS) + 3)
        self.judges = device.place(MultiScaleDiscriminator(inputs, config.judge_width, scales=config.judge_scales))
        self.networks = {"generator": self.generator, "judges": self.judges}
        self.optimisers = {
            name: torch.optim.Adam(network.parameters(), lr=config.learning_rate, betas=(0.5, 0.999), fused=True)
            for name, network in self.networks.items()
        }

    @property
    def performer(self) -> Pix2PixHD:
        return self.generator

    def begin_from(self, weights: Mapping[str, Tensor]) -> None:
        self.generator.load_state_dict(weights)

    def windows(self, keypoints: Tensor) -> Tensor:
        with torch.inference_mode():
            planes = self.generator.draw(keypoints, *self.grid)
            with self.device.autocast():
                return self.generator.window(planes, planes.new_zeros(len(planes), 3, *planes.shape[2:]))

    def player(self, keypoints: Floats) -> Callable[[int], Floats]:
        shown = np.zeros((1, 3, self.data.resolution, self.data.resolution), np.float32)
        coming = -1

        def play(frame: int) -> Floats:
            nonlocal shown, coming
            start = frame if frame == coming else max(0, frame - LEAD)
            if frame != coming:
                shown = np.zeros_like(shown)
            for pose in keypoints[start : frame + 1]:
                shown = self._continued(pose, shown)
            coming = frame + 1
            picture = 0.5 * shown[0].transpose(1, 2, 0) + 0.5
            return np.concatenate([picture, np.ones_like(picture[..., :1])], axis=2)

        return play

    def _continued(self, pose: Floats, before: Floats) -> Floats:
        to = self.device.torch
        with torch.inference_mode():
            planes = self.generator.draw(torch.from_numpy(pose[None]).to(to), *self.grid)
            with self.device.autocast():
                picture: Floats = self.generator.body(planes, torch.from_numpy(before).to(to)).float().cpu().numpy()
        return picture

    def learning_rate(self, name: str) -> float:
        """In each of the two trainings, coarse and whole, steady for one half and then down to zero along a line."""
        del name  # all learn at one rate
        config = self.config
        first = config.coarse_iterations
        start, stop = (0, first) if self.step < first else (first, config.iterations)
        done = (self.step - start) / max(1, stop - start)
        return config.learning_rate * min(1.0, 2.0 * (1.0 - done))

    def draw(self, draw: Draw) -> list[Batch]:
        """Pairs of frames: those before, and those after them."""
        last = torch.tensor(draw.indices(len(self.data) - 1), device=self.data.frames.device) + 1
        return [whole_batch(self.data, last - 1), whole_batch(self.data, last)]

    def backward(self, batches: Sequence[Batch], share: float) -> dict[str, Tensor]:
        coarse = self.step < self.config.coarse_iterations
        batches = [_halved(batch) for batch in batches] if coarse else batches
        grid = [ticks.view(-1, 2).mean(1) for ticks in self.grid] if coarse else self.grid
        with torch.no_grad():
            planes = [self.generator.draw(batch.keypoints, *grid) for batch in batches]
        # In -1..1, as the generator's last layer gives them.
        truth = [2.0 * batch.frame - 1.0 for batch in batches]
        made: list[Tensor] = []
        with self.device.autocast():
            for each in planes:
                before = made[-1].detach() if made else torch.zeros_like(truth[0])
                made.append(self._generate(each, before))
            fake, real = (torch.cat([*planes, *pictures], dim=1) for pictures in (made, truth))
            judged_fake, judged_real = self._judge(fake.detach()), self._judge(real)
            losses = {"judges": 0.5 * (judged_as(judged_fake, 0.0) + judged_as(judged_real, 1.0))}
            # The generator's losses shall not teach the judges: their weights are constants in this one pass.
            self.judges.requires_grad_(requires_grad=False)
            judged = self._judge(fake)
            self.judges.requires_grad_(requires_grad=True)
        losses["adversarial"] = judged_as(judged, 1.0)
        losses["features"] = self.config.feature_matching * feature_matching(judged, judged_real)
        if self.perceptual is not None:
            with self.device.autocast():
                found = self.perceptual(*(0.5 * torch.cat(pictures) + 0.5 for pictures in (made, truth)))
            losses["perceptual"] = self.config.perceptual * found
        total = torch.stack(list(losses.values())).sum() * share
        total.backward()  # type: ignore[no-untyped-call]
        return losses

    def _generate(self, planes: Tensor, before: Tensor) -> Tensor:
        config = self.config
        if self.step < config.coarse_iterations:
            return self.generator.coarse_body(planes, before)
        fixed = self.step < config.coarse_iterations + config.enhancer_iterations
        return self.generator.body(planes, before, coarse_is_fixed=fixed)

    def _judge(self, x: Tensor) -> list[Features]:
        # While only half the resolution is made, the judges of that resolution and below are taught.
        found: list[Features] = self.judges(x, first=1 if self.step < self.config.coarse_iterations else 0)
        return found


def _halved(batch: Batch) -> Batch:
    frame = functional.avg_pool2d(batch.frame, 2)
    return replace(batch, frame=frame)
