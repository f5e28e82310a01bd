"""Videos in and out: probing, decoding, sound; encoding is in `write`. PyAV (FFmpeg's libraries) does the codecs.

What this package offers by its own name needs no OpenCV, which the downloader's image lacks; `write` does.
"""

from services.common.video.colour import RGB, RgbConverter
from services.common.video.decode import DecodedFrame, FrameStream, read_frames
from services.common.video.facts import Crop, Geometry, Orientation, Timing, VideoFacts
from services.common.video.limits import VideoLimits
from services.common.video.probe import probe
from services.common.video.sound import extract_audio

__all__ = [
    "RGB", "Crop", "DecodedFrame", "FrameStream", "Geometry", "Orientation", "RgbConverter", "Timing", "VideoFacts",
    "VideoLimits", "extract_audio", "probe", "read_frames",
]  # fmt: skip
