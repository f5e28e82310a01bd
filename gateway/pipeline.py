"""What a transfer does, in plain words: study both clips, make the performer, fit the dance, render, encode.

Every call is idempotent and answers at once when its artifact is committed, so running any part of this again after
a crash costs only what had not been committed.
"""

from __future__ import annotations

from collections.abc import Sequence

from understudy.v1 import normalization_pb2, renderer_pb2, trainer_pb2, types_pb2

from gateway.backgrounds import to_background
from gateway.board import RESULT, TARGET, Board
from gateway.clients import StageClients
from gateway.config import GatewaySettings
from gateway.judge_stages import JudgeStages
from gateway.messages import to_message, to_messages, to_output, to_resource
from gateway.resources import Ref, TransferOptions
from gateway.results import Driven, Encoded, Rendered, Study, Trained

SHARD_FRAMES = 64


class Pipeline(JudgeStages):
    """The calls of one transfer. `board` hears how far they are."""

    def __init__(
        self,
        settings: GatewaySettings,
        clients: StageClients,
        board: Board,
        transfer_id: str,
        options: TransferOptions,
    ) -> None:
        # A draft can be made of a photograph; every other performer is refused by the trainer, with numbers.
        stills = (TARGET,) if options.preset == "draft" else ()
        super().__init__(settings, clients, board, transfer_id, stills)
        self._options = options

    async def train(self, study: Study) -> Trained:
        """Segments the target, builds its plate and trains its performer."""
        mattes, plate = await self.separate(study, TARGET)
        performer = await self._train(study, mattes, plate.artifact)
        made = [*(to_resource(matte) for matte in mattes), to_resource(plate.artifact), to_resource(performer.artifact)]
        return Trained(
            performer=to_resource(performer.artifact),
            study=study,
            refs=[*study.refs(), *made],
            preset=performer.preset,
            metrics=dict(performer.metrics),
            nearest_metrics=dict(performer.nearest_metrics),
            draft_metrics=dict(performer.draft_metrics),
            warnings=[f"target: {warning}" for warning in (*plate.warnings, *performer.warnings)],
        )

    async def normalize(self, source: Study, clip: Ref, track: Ref, camera: Ref) -> Driven:
        """Fits the source's dance to the target's body; `clip`, `track` and `camera` are the target's."""
        self._board.begin(RESULT, "normalization", source.frame_count)
        answer = await self._call.unary(
            self._clients.normalization.NormalizePoses,
            normalization_pb2.NormalizePosesRequest(
                source_clip=to_message(source.clip),
                source_track=to_message(source.track),
                source_camera=to_message(source.camera),
                target_clip=to_message(clip),
                target_track=to_message(track),
                target_camera=to_message(camera),
                mode=self._options.normalization,
            ),
            "normalization",
        )
        self._board.finish(RESULT, "normalization")
        return Driven(
            track=to_resource(answer.artifact),
            frame_count=answer.frame_count,
            valid_frame_count=answer.valid_frame_count,
            warnings=list(answer.warnings),
        )

    async def render(self, source: Study, trained: Trained, driven: Driven) -> Rendered:
        background = to_background(self._options.background, self._options.camera, source, trained.study)
        self._board.begin(RESULT, "rendering", driven.frame_count)
        firsts = range(0, driven.frame_count, SHARD_FRAMES)
        shards = await self._in_parallel(
            [self._render(trained.performer, driven, first, background) for first in firsts]
        )
        self._board.finish(RESULT, "rendering")
        return Rendered(shards=[to_resource(shard) for shard in shards])

    async def encode(self, source: Study, driven: Driven, rendered: Rendered) -> Encoded:
        transparent = self._options.background == "transparent"
        formats = self._options.formats or ["webm" if transparent else "mp4"]
        wanted: list[tuple[str, str, str]] = [(name, name, "result") for name in formats]
        if self._options.side_by_side:
            wanted.append(("side_by_side", "mp4", "side_by_side"))
        self._board.begin(RESULT, "encoding", driven.valid_frame_count * len(wanted))
        outputs, dropped = [], 0
        for index, (name, form, layout) in enumerate(wanted):
            before = index * driven.valid_frame_count
            video = await self._encode(source, driven, rendered, form, layout, before)
            outputs.append(to_output(name, video))
            dropped = video.dropped_frames
        self._board.finish(RESULT, "encoding")
        return Encoded(outputs=outputs, dropped_frames=dropped)

    async def _train(
        self, study: Study, mattes: Sequence[types_pb2.ArtifactRef], plate: types_pb2.ArtifactRef
    ) -> trainer_pb2.Performer:
        performer = trainer_pb2.Performer()

        def on_update(update: trainer_pb2.TrainResponse) -> None:
            if update.HasField("progress"):
                self._board.update(TARGET, "training", update.progress.done, update.progress.total)
            elif update.HasField("performer"):
                performer.CopyFrom(update.performer)

        self._board.begin(TARGET, "training", self._options.iterations)
        request = trainer_pb2.TrainRequest(
            clip=to_message(study.clip),
            track=to_message(study.track),
            camera=to_message(study.camera),
            matte_shards=mattes,
            plate=plate,
            preset=self._options.preset,
            family=self._options.family,
            iterations=self._options.iterations,
            seed=self._options.seed,
            quality_target=self._options.quality_target,
        )
        await self._call.stream(self._clients.trainer.Train, request, "training", on_update)
        self._board.training = self._options.training_with(performer.preset)
        self._board.finish(TARGET, "training")
        return performer

    async def _render(
        self, performer: Ref, driven: Driven, first: int, background: renderer_pb2.Background | None
    ) -> types_pb2.ArtifactRef:
        count = min(SHARD_FRAMES, driven.frame_count - first)
        request = renderer_pb2.RenderFramesRequest(
            performer=to_message(performer),
            driven_track=to_message(driven.track),
            first_frame=first,
            frame_count=count,
            background=background,
        )
        answer = await self._in_turn("rendering", self._clients.renderer.RenderFrames, request, "rendering")
        self._board.add(RESULT, "rendering", count)
        return answer.artifact

    async def _encode(
        self, source: Study, driven: Driven, rendered: Rendered, form: str, layout: str, before: int
    ) -> renderer_pb2.Video:
        video = renderer_pb2.Video()

        def on_update(update: renderer_pb2.EncodeVideoResponse) -> None:
            if update.HasField("progress"):
                self._board.update(RESULT, "encoding", before + update.progress.done)
            else:
                video.CopyFrom(update.video)

        request = renderer_pb2.EncodeVideoRequest(
            rendered_shards=to_messages(rendered.shards),
            driven_track=to_message(driven.track),
            source_clip=to_message(source.clip),
            source_track=to_message(source.track),
            format=form,
            layout=layout,
        )
        await self._call.stream(self._clients.renderer.EncodeVideo, request, "encoding", on_update)
        return video
