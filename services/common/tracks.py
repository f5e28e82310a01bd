"""Pose tracks and camera paths: the two whole-clip arrays that stages hand to each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.common.skeleton import KEYPOINT_COUNT

Arrays = dict[str, NDArray[Any]]

# Arithmetic in float64 is done in parts, so that an hour of dance needs no more room for it than a minute.
_FRAMES_AT_ONCE = 1024


@dataclass(frozen=True)
class PoseTrack:
    """The one subject followed through a clip.

    keypoints: float32 (T, 133, 3): x px, y px, confidence 0..1, COCO-WholeBody order, in the frame (`width` x
    `height` px) that the track belongs to: as filmed, or a registered camera after `transformed`.
    valid: bool (T,): whether the subject's pose is known in frame t. Keypoints of invalid frames mean nothing.
    Raises ValueError when shapes or dtypes differ from these.
    """

    keypoints: NDArray[np.float32]
    valid: NDArray[np.bool_]
    width: int
    height: int

    def __post_init__(self) -> None:
        frames = self.keypoints.shape[0]
        if self.keypoints.shape != (frames, KEYPOINT_COUNT, 3) or self.keypoints.dtype != np.float32:
            raise ValueError(f"keypoints must be float32 (T, {KEYPOINT_COUNT}, 3), not {self.keypoints.dtype} "
                             f"{self.keypoints.shape}")  # fmt: skip
        if self.valid.shape != (frames,) or self.valid.dtype != np.bool_:
            raise ValueError(f"valid must be bool ({frames},), not {self.valid.dtype} {self.valid.shape}")
        if not np.isfinite(self.keypoints).all():
            raise ValueError("keypoints must be finite")

    def __len__(self) -> int:
        return int(self.keypoints.shape[0])

    def to_arrays(self) -> Arrays:
        return {
            "keypoints": self.keypoints,
            "valid": self.valid.astype(np.uint8),
            "frame_size": np.array([self.width, self.height], dtype=np.int64),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> PoseTrack:
        width, height = (int(side) for side in arrays["frame_size"])
        return cls(arrays["keypoints"], arrays["valid"].astype(np.bool_), width, height)

    def transformed(self, matrices: NDArray[np.float64]) -> PoseTrack:
        """The track with frame t's points sent through `matrices[t]`, float64 (T, 2, 3); confidences are kept.

        Raises ValueError when there is not one matrix a frame.
        """
        if matrices.shape != (len(self), 2, 3):
            raise ValueError(f"need matrices ({len(self)}, 2, 3), got {matrices.shape}")
        moved = np.empty_like(self.keypoints)
        for first in range(0, len(self), _FRAMES_AT_ONCE):
            frames = slice(first, first + _FRAMES_AT_ONCE)
            moved[frames] = transform_keypoints(matrices[frames], self.keypoints[frames])
        return replace(self, keypoints=moved)


def transform_keypoints(matrices: NDArray[np.float64], keypoints: NDArray[np.float32]) -> NDArray[np.float32]:
    """Keypoints float32 (N, 133, 3), each pose sent through its own of the matrices (N, 2, 3); those of no confidence
    lie at (0, 0)."""
    points = keypoints[..., :2].astype(np.float64)
    moved = np.einsum("tij,tkj->tki", matrices[:, :, :2], points) + matrices[:, None, :, 2]
    sure = keypoints[..., 2:]
    return np.concatenate([np.where(sure > 0, moved, 0.0), sure], axis=2).astype(np.float32)


@dataclass(frozen=True)
class CameraPath:
    """Where the camera was in each frame of a clip.

    matrices: float64 (T, 2, 3): registered = M[t] @ [x, y, 1], from the frame as filmed to the reference frame's
    camera, both `width` x `height` px. residual_px: float32 (T,): median distance of the background's inliers
    after registration. Raises ValueError when shapes differ.
    """

    matrices: NDArray[np.float64]
    residual_px: NDArray[np.float32]
    reference_frame: int
    width: int
    height: int

    def __post_init__(self) -> None:
        frames = self.matrices.shape[0]
        if self.matrices.shape != (frames, 2, 3) or self.matrices.dtype != np.float64:
            raise ValueError(f"matrices must be float64 (T, 2, 3), not {self.matrices.dtype} {self.matrices.shape}")
        if self.residual_px.shape != (frames,):
            raise ValueError(f"residual_px must be ({frames},), not {self.residual_px.shape}")
        if not np.isfinite(self.matrices).all():
            raise ValueError("matrices must be finite")

    def __len__(self) -> int:
        return int(self.matrices.shape[0])

    @classmethod
    def identity(cls, frames: int, width: int, height: int) -> CameraPath:
        """A camera that never moved."""
        matrices = np.tile(np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), (frames, 1, 1))
        return cls(matrices, np.zeros(frames, dtype=np.float32), 0, width, height)

    def to_arrays(self) -> Arrays:
        return {
            "matrices": self.matrices,
            "residual_px": self.residual_px,
            "reference_frame": np.array([self.reference_frame], dtype=np.int64),
            "frame_size": np.array([self.width, self.height], dtype=np.int64),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> CameraPath:
        width, height = (int(side) for side in arrays["frame_size"])
        return cls(arrays["matrices"], arrays["residual_px"], int(arrays["reference_frame"][0]), width, height)
