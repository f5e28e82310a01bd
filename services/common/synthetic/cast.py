"""Two dancers and their rooms: different builds, clothes, framing and light."""

from __future__ import annotations

from typing import Final

from services.common.synthetic.body import Dancer, Outfit
from services.common.synthetic.dance import Dance
from services.common.synthetic.scene import Scene

ADA: Final = Dancer(
    "Ada",
    height=1.70,
    outfit=Outfit(
        skin=(226, 178, 150), hair=(72, 44, 30), top=(196, 52, 62), top_stripe=(240, 236, 228), stripes=9, sleeve=0.25,
        trousers=(44, 58, 96), trouser_leg=0.95, shoes=(236, 236, 238), long_hair=True,
    ),
    leg=0.49,
    shoulders=0.205,
    girth=0.96,
    texture_seed=1,
)  # fmt: skip
BO: Final = Dancer(
    "Bo",
    height=1.82,
    outfit=Outfit(
        skin=(150, 104, 78), hair=(24, 20, 20), top=(238, 190, 60), top_stripe=(40, 90, 150), stripes=3, sleeve=0.3,
        trousers=(70, 74, 70), trouser_leg=0.52, shoes=(60, 40, 36),
    ),
    leg=0.465,
    shoulders=0.24,
    hips=0.115,
    girth=1.16,
    texture_seed=2,
)  # fmt: skip

STUDIO: Final = Scene(seed=11, wall=(196, 190, 176), floor=(150, 112, 78), camera_distance=4.9, drift=1.0)
"""Ada's room, filmed by a steady hand."""
HALL: Final = Scene(
    seed=5, wall=(120, 150, 168), floor=(120, 104, 92), camera_distance=4.7, camera_height=1.3, horizon=0.45
)
"""Bo's room, filmed from a tripod."""

SOURCE_DANCE: Final = Dance(seed=3)
TARGET_DANCE: Final = Dance(seed=8, beats_per_minute=96.0)
