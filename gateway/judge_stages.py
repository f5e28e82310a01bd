"""How a performer is judged: it renders frames that it never saw, beside the truth and what costs no training."""

from __future__ import annotations

from understudy.v1 import pose_pb2, renderer_pb2, trainer_pb2, types_pb2

from gateway.board import TARGET
from gateway.clip_stages import ClipStages
from gateway.messages import to_message, to_messages, to_resource
from gateway.resources import MeasuredRow, Ref
from gateway.results import Judged, Study

_PERFORMER = "performer"
_SHARD_FRAMES = 64


class JudgeStages(ClipStages):
    """The stage calls of an evaluation. `board` has the stage "evaluation" of the target."""

    async def judge(self, performer: Ref, study: Study, made: list[Ref]) -> Judged:
        """Measures `performer`, which was made from `study` and, among `made`, its mattes and plate."""
        self._board.begin(TARGET, "evaluation")
        heldout = await self._hold_out(performer, study, made)
        self._board.update(TARGET, "evaluation", 0, heldout.frame_count)
        shards = await self._render_heldout(performer, heldout)
        pictures = [(_PERFORMER, shard, "") for shard in shards]
        pictures += [(row, heldout.artifact, f"{row}.tar") for row in heldout.rows]
        poses = await self._in_parallel([self._find_again(shard, name) for _, shard, name in pictures])
        rows = [trainer_pb2.EvaluatedRow(name=_PERFORMER, shards=shards)]
        rows += [trainer_pb2.EvaluatedRow(name=name) for name in heldout.rows]
        for row in rows:
            row.poses.extend(found for found, (name, _, _) in zip(poses, pictures, strict=True) if name == row.name)
        answer = await self._call.unary(
            self._clients.trainer.Evaluate,
            trainer_pb2.EvaluateRequest(heldout=heldout.artifact, rows=rows),
            "evaluation",
        )
        self._board.update(TARGET, "evaluation", heldout.frame_count)
        self._board.finish(TARGET, "evaluation")
        return Judged(
            artifact=to_resource(answer.artifact),
            frame_count=answer.frame_count,
            rows=[MeasuredRow(name=row.name, metrics=dict(row.metrics)) for row in answer.rows],
            refs=[to_resource(ref) for ref in (heldout.artifact, *shards, *poses, answer.artifact)],
        )

    async def _hold_out(self, performer: Ref, study: Study, made: list[Ref]) -> trainer_pb2.HoldOutResponse:
        return await self._call.unary(
            self._clients.trainer.HoldOut,
            trainer_pb2.HoldOutRequest(
                performer=to_message(performer),
                clip=to_message(study.clip),
                track=to_message(study.track),
                camera=to_message(study.camera),
                matte_shards=to_messages([ref for ref in made if ref.kind == "matte_shard"]),
                plate=to_message(next(ref for ref in made if ref.kind == "plate")),
            ),
            "evaluation",
        )

    async def _render_heldout(
        self, performer: Ref, heldout: trainer_pb2.HoldOutResponse
    ) -> list[types_pb2.ArtifactRef]:
        shards = []
        for first in range(0, heldout.frame_count, _SHARD_FRAMES):
            answer = await self._call.unary(
                self._clients.renderer.RenderFrames,
                renderer_pb2.RenderFramesRequest(
                    performer=to_message(performer),
                    driven_track=heldout.artifact,
                    first_frame=first,
                    frame_count=min(_SHARD_FRAMES, heldout.frame_count - first),
                ),
                "evaluation",
            )
            shards.append(answer.artifact)
        return shards

    async def _find_again(self, shard: types_pb2.ArtifactRef, object_name: str) -> types_pb2.ArtifactRef:
        request = pose_pb2.EstimatePosesRequest(shard=shard, object_name=object_name)
        answer = await self._in_turn("pose", self._clients.pose.EstimatePoses, request, "evaluation")
        return answer.artifact
