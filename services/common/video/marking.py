"""Saying inside a file that it is synthetic, in the words that readers of provenance look for.

IPTC's Digital Source Type "trainedAlgorithmicMedia" (the term that C2PA assertions use too) goes in as XMP: in MP4 as
a `uuid` box (XMP Specification Part 3), in GIF as the XMP application extension, each beside a plain comment. WebM
keeps the comment as a tag, which the muxer wrote.
"""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import escape

DIGITAL_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"

_XMP_UUID = bytes.fromhex("BE7ACFCB97A942E89C71999491E3AFAC")


def mark_file(path: Path, video_format: str, sentence: str) -> None:
    """Adds the mark to a finished mp4 or gif file, in place."""
    if video_format == "mp4":
        packet = _xmp(sentence)
        with path.open("ab") as file:
            file.write((24 + len(packet)).to_bytes(4, "big") + b"uuid" + _XMP_UUID + packet)
    elif video_format == "gif":
        data = path.read_bytes()
        # Header and logical screen descriptor take 13 bytes, then the global colour table when its flag is set.
        table = 3 * 2 ** ((data[10] & 7) + 1) if data[10] & 0x80 else 0
        at = 13 + table
        path.write_bytes(data[:at] + _gif_comment(sentence) + _gif_xmp(_xmp(sentence)) + data[at:])


def _xmp(sentence: str) -> bytes:
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
        'xmlns:dc="http://purl.org/dc/elements/1.1/">'
        f"<Iptc4xmpExt:DigitalSourceType>{DIGITAL_SOURCE_TYPE}</Iptc4xmpExt:DigitalSourceType>"
        '<dc:description><rdf:Alt><rdf:li xml:lang="x-default">'
        f"{escape(sentence)}</rdf:li></rdf:Alt></dc:description>"
        '</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
    ).encode()


def _gif_comment(sentence: str) -> bytes:
    text = sentence.encode("ascii", "replace")
    blocks = b"".join(bytes([len(text[i : i + 255])]) + text[i : i + 255] for i in range(0, len(text), 255))
    return b"\x21\xfe" + blocks + b"\x00"


def _gif_xmp(packet: bytes) -> bytes:
    # The packet is not split into blocks: the 258-byte trailer catches a reader that takes its bytes for lengths.
    trailer = b"\x01" + bytes(range(255, -1, -1)) + b"\x00"
    return b"\x21\xff\x0bXMP DataXMP" + packet + trailer
