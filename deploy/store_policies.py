"""What each service may do in the bucket: read the artifacts, write its own kinds of them, nothing else."""

from __future__ import annotations

from typing import Any

_READ = ["s3:GetObject"]
_WRITE = ["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]
_KEEP_HOUSE = [*_WRITE, "s3:DeleteObject"]

# By service: prefixes that it reads, that it writes, and that it also deletes from.
_PREFIXES: dict[str, tuple[list[str], list[str], list[str]]] = {
    "downloader": (["artifacts/"], ["uploads/", "artifacts/clip/", "artifacts/frame_shard/"], []),
    "pose": (
        ["artifacts/", "weights/"],
        ["artifacts/people/", "artifacts/pose_shard/", "artifacts/pose_track/", "artifacts/result_poses/"],
        [],
    ),
    "segmentation": (
        ["artifacts/", "weights/"],
        ["artifacts/camera_path/", "artifacts/matte_shard/", "artifacts/plate/"],
        [],
    ),
    "normalization": (["artifacts/"], ["artifacts/driven_track/"], []),
    "trainer": (
        ["artifacts/"],
        ["artifacts/evaluation/", "artifacts/heldout/", "artifacts/performer/"],
        ["scratch/"],
    ),
    "renderer": (["artifacts/"], ["artifacts/rendered_shard/", "artifacts/video/"], []),
    "gateway": ([], [], ["uploads/", "artifacts/"]),
}
USERS = tuple(_PREFIXES)


def policy(user: str, bucket: str, prefix: str = "") -> dict[str, Any]:
    """A service's policy, in the language of S3, for a store that keeps its objects under `prefix` of the bucket."""
    at = f"arn:aws:s3:::{bucket}"
    under = f"{at}/{prefix}/" if prefix else f"{at}/"
    statements: list[dict[str, Any]] = [
        {"Effect": "Allow", "Action": ["s3:ListBucket", "s3:GetBucketLocation"], "Resource": [at]}
    ]
    for actions, prefixes in zip((_READ, _WRITE, _KEEP_HOUSE), _PREFIXES[user], strict=True):
        if prefixes:
            resources = [f"{under}{each}*" for each in prefixes]
            statements.append({"Effect": "Allow", "Action": actions, "Resource": resources})
    return {"Version": "2012-10-17", "Statement": statements}
