"""Videos in and out: probing, decoding, sound, encoding. PyAV (FFmpeg's libraries) does the codecs."""

from services.common.video.colour import RGB, RgbConverter
from services.common.video.decode import DecodedFrame, FrameStream, read_frames
from services.common.video.facts import Crop, Geometry, Orientation, Timing, VideoFacts
from services.common.video.limits import VideoLimits
from services.common.video.probe import probe
from services.common.video.sound import extract_audio
from services.common.video.write import ALPHA_FORMATS, VideoFormat, WrittenVideo, write_video

__all__ = [
    "ALPHA_FORMATS", "RGB", "Crop", "DecodedFrame", "FrameStream", "Geometry", "Orientation", "RgbConverter", "Timing",
    "VideoFacts", "VideoFormat", "VideoLimits", "WrittenVideo", "extract_audio", "probe", "read_frames", "write_video",
]  # fmt: skip
