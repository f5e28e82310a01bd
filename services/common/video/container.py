"""Opening a file that may be hostile, and saying in plain words why it cannot be opened."""

from __future__ import annotations

from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from services.common.errors import NoVideoStream, UnreadableVideo

# Playlists (hls, dash, concat), device and image-sequence readers are left out on purpose: they open other files and
# addresses that the given file names. The sound-only formats are in, to be able to say that there is no picture.
_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,asf,ogg,gif,apng,h264,hevc,av1,obu,m4v,mpegvideo,"
    "ivf,mxf,dv,nut,rm,wtv,mjpeg,yuv4mpegpipe,jpeg_pipe,png_pipe,webp_pipe,mp3,wav,flac,aac,aiff,caf,ac3,amr"
)
_OPTIONS = {"protocol_whitelist": "file", "format_whitelist": _FORMATS}


def open_video(path: Path) -> InputContainer:
    """Opens a local file for reading; no other file or address is ever opened on its behalf.

    Raises UnreadableVideo (missing, a folder, empty, not a video, index lost).
    """
    if not path.exists():
        raise UnreadableVideo(f"there is no file {path.name}; check the path", path=path.name)
    if not path.is_file():
        raise UnreadableVideo(f"{path.name} is not a file; give the video itself", path=path.name)
    if path.stat().st_size == 0:
        raise UnreadableVideo("the file is empty (0 bytes); copy or download it again")
    with path.open("rb") as file:
        # A name that ends in .jpg would choose the reader of numbered series, which is not let in.
        form = "jpeg_pipe" if file.read(3) == b"\xff\xd8\xff" else None
    try:
        return av.open(
            f"file:{path.resolve()}", mode="r", format=form, options=dict(_OPTIONS), metadata_errors="replace"
        )
    except (av.FFmpegError, ValueError, OSError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> UnreadableVideo:
    with path.open("rb") as file:
        head = file.read(4096)
    size = path.stat().st_size
    if b"ftyp" in head[:32]:
        return UnreadableVideo(
            f"the file ({size} bytes) begins as an MP4 and its index is missing or damaged: it was cut off while it "
            "was recorded, copied or downloaded; get it again",
            size_bytes=size,
        )
    return UnreadableVideo(
        f"the file ({size} bytes) is not a video that can be read; MP4, MOV, MKV, WebM and AVI can be, and, for the "
        "target of a draft, photographs as JPEG, PNG or WebP",
        size_bytes=size,
        detail=str(error),
    )


def video_stream(container: InputContainer) -> VideoStream:
    """The first moving picture of the file; cover art is none. Raises NoVideoStream, UnreadableVideo."""
    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not streams:
        sound = len(container.streams.audio)
        raise NoVideoStream(
            f"the file has no picture, only {sound} sound track{'' if sound == 1 else 's'}; give a video",
            audio_streams=sound,
        )
    for stream in streams:
        # PyAV gives no codec context when the build has no decoder for the stream.
        if stream.codec_context is not None:
            return stream
    raise UnreadableVideo("no decoder for the video's codec is built in; convert it to H.264 first")
