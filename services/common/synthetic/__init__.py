"""Synthetic dancers: drawn people whose every joint is known, for the demonstration, tests and benchmarks."""

from services.common.synthetic.body import Dancer, Outfit
from services.common.synthetic.cast import ADA, BO, HALL, SOURCE_DANCE, STUDIO, TARGET_DANCE
from services.common.synthetic.dance import Dance
from services.common.synthetic.measure import TransferError, compare_to_truth
from services.common.synthetic.pair import SyntheticPair, write_synthetic_pair
from services.common.synthetic.render import SyntheticFrame, render_clip
from services.common.synthetic.scene import Scene

__all__ = [
    "ADA", "BO", "HALL", "SOURCE_DANCE", "STUDIO", "TARGET_DANCE", "Dance", "Dancer", "Outfit", "Scene",
    "SyntheticFrame", "SyntheticPair", "TransferError", "compare_to_truth", "render_clip", "write_synthetic_pair",
]  # fmt: skip
