"""The puppet: the target's own frames, cut into body parts and moved into another pose. Needs no training.

Each part of the body (a limb's bone, the trunk, the head) goes from a reference frame to the driven pose by an affine
map of its own; the layers are merged by how near a pixel is to each part's bone. Frames as sharp as the film, and as
wrong as cut-out paper where a pose is new: a draft to see the alignment by, before paying for training, and the fine
detail of what a network paints.
"""

from services.common.puppet.choose import spread_frames
from services.common.puppet.detail import NO_SHARE, DraftShare, add_detail
from services.common.puppet.puppet import Puppet, References, enlarged
from services.common.puppet.stored import open_references, put_references

__all__ = [
    "NO_SHARE",
    "DraftShare",
    "Puppet",
    "References",
    "add_detail",
    "enlarged",
    "open_references",
    "put_references",
    "spread_frames",
]
