"""Trains one performer outside the service, by as many processes as `torchrun` starts:

    UNDERSTUDY_STORE_URL=file:///data torchrun --nproc-per-node 8 -m services.trainer.offline PLATE --preset hd

PLATE is the key of the target's `plate` artifact, which names all else that its study consists of. The performer is the
artifact that the service would make of the same options (but for rounding, as the sums are of shares), so whoever asks
the service for it later finds it there. When one process dies, torchrun ends the others; the same command goes on from
the last checkpoint.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from services.common.artifacts import ArtifactRef, Artifacts
from services.common.stage import Job, Progress
from services.common.telemetry import configure_logging, logger
from services.trainer.config import TrainerSettings
from services.trainer.distributed import joined_world
from services.trainer.presets import run_config
from services.trainer.study import StudyRefs
from services.trainer.worker import Trainer, TrainRequest

_log = logger(__name__)


def studied_target(artifacts: Artifacts, plate_key: str) -> StudyRefs:
    """What the plate was made of. Raises ArtifactNotFound when one of the two artifacts looked into is not there."""
    plate = ArtifactRef("plate", plate_key)
    made_of = artifacts.open(plate).recipe["inputs"]
    camera = _ref(made_of["camera"])
    track = _ref(artifacts.open(camera).recipe["inputs"]["track"])
    return StudyRefs(_ref(made_of["clip"]), track, camera, [_ref(each) for each in made_of["matte_shards"]], plate)


def _ref(value: Mapping[str, Any]) -> ArtifactRef:
    return ArtifactRef(value["kind"], value["key"])


def _arguments(given: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="services.trainer.offline", description="Trains one performer.")
    parser.add_argument("plate", help="key of the target's plate artifact")
    parser.add_argument("--preset", default="", help="preview, standard or hd")
    parser.add_argument("--family", default="", help="composite or pix2pixhd")
    parser.add_argument("--iterations", type=int, default=0, help="0 is the preset's")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quality-target", type=float, default=0.0, help="SSIM at which to stop; 0 is never (default)")
    return parser.parse_args(given)


def main(given: list[str] | None = None) -> None:
    """Trains, and commits the performer."""
    arguments, settings = _arguments(given), TrainerSettings()
    configure_logging("trainer", settings.log_format, settings.log_level)
    artifacts = Artifacts(settings.open_store(), settings.cache_dir)
    config = run_config(
        arguments.preset, arguments.family, arguments.iterations, arguments.seed, arguments.quality_target
    )
    request = TrainRequest(studied_target(artifacts, arguments.plate), config)

    def tell(event: object) -> None:
        if isinstance(event, Progress):
            _log.info("training", done=event.done, total=event.total, detail=event.message)

    with joined_world() as world:
        trainer = Trainer.from_settings(artifacts, settings, world)
        recipe = trainer.recipe(request)
        if artifacts.exists(recipe.ref):
            _log.info("the performer is there already", key=recipe.key)
            return
        writer = artifacts.write(recipe)
        facts = trainer.train(request, Job(tell if world.rank == 0 else lambda _event: None), writer)
        if world.rank == 0:
            artifacts.commit(writer, facts)
            trainer.forget_work(recipe)
            _log.info("the performer is committed", key=recipe.key)


if __name__ == "__main__":
    main()
