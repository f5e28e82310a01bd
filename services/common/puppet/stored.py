"""References as objects of a performer: pictures and mattes as tars, keypoints as safetensors."""

from __future__ import annotations

import io

import numpy as np

from services.common.artifacts import Artifact, ArtifactWriter
from services.common.errors import DataCorrupted
from services.common.frames import read_shard, write_frames, write_mattes
from services.common.puppet.puppet import References

FRAMES, MATTES, KEYPOINTS = "references.frames.tar", "references.mattes.tar", "references.safetensors"


def put_references(writer: ArtifactWriter, references: References) -> None:
    """Stores them; the pictures as JPEG of quality 95."""
    for name, write, part in ((FRAMES, write_frames, slice(0, 3)), (MATTES, write_mattes, 3)):
        file = io.BytesIO()
        write(file, enumerate(np.ascontiguousarray(references.pictures[..., part])))
        writer.put_bytes(name, file.getvalue())
    writer.put_arrays(KEYPOINTS, {"keypoints": references.keypoints})


def open_references(performer: Artifact) -> References:
    """Reads them back. Raises DataCorrupted where pictures and keypoints do not belong together."""
    keypoints = performer.read_arrays(KEYPOINTS)["keypoints"]
    colours, mattes = (dict(read_shard(performer.local_path(name))) for name in (FRAMES, MATTES))
    if not sorted(colours) == sorted(mattes) == list(range(len(keypoints))):
        raise DataCorrupted(
            f"the performer has {len(keypoints)} reference poses, {len(colours)} pictures and {len(mattes)} mattes; "
            "train it again"
        )
    pictures = np.stack([np.dstack([colours[row], mattes[row]]) for row in range(len(keypoints))])
    return References(pictures, keypoints)
