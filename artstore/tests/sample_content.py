"""Content for files of the pictures: small, always the same, and what its type says it is."""

import json
import math
import random
import struct
import zlib


def content(content_type: str, size_bytes: int, chance: random.Random) -> bytes:
    """A file of that type; text and pictures are real, the rest is noise of the size asked for."""
    if content_type == "text/csv":
        return _measurements(chance)
    if content_type == "application/json":
        return json.dumps(_factors(chance), ensure_ascii=False, indent=2).encode()
    if content_type == "application/yaml":
        return b"service: client\nreplicas: 3\nimage: client:1.4.2\nregion: north\n"
    if content_type == "image/svg+xml":
        return _drawing()
    if content_type == "image/png":
        return _sunrise(480, 270)
    return chance.randbytes(size_bytes)


def _measurements(chance: random.Random) -> bytes:
    lines = ["time,stand,load_kN,deflection_mm,temperature_C"]
    for second in range(0, 3600, 5):
        load = 40 + 25 * math.sin(second / 300) + chance.uniform(-0.4, 0.4)
        lines.append(
            f"2026-11-21T09:{second // 60:02}:{second % 60:02}Z,north,{load:.2f},"
            f"{load * 0.0183:.4f},{21 + second / 1800:.1f}"
        )
    return "\n".join(lines).encode()


def _factors(chance: random.Random) -> dict[str, object]:
    sensors = [
        {"sensor": f"N{number:02}", "factor": round(chance.uniform(0.98, 1.02), 5), "checked": True}
        for number in range(1, 7)
    ]
    return {"stand": "north", "after": "repair", "valid_from": "2026-11-20", "sensors": sensors}


def _drawing() -> bytes:
    beams = "".join(
        f'<line x1="{60 + 90 * step}" y1="60" x2="{150 + 90 * step}" y2="180"/>'
        for step in range(5)
    )
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 240" fill="none" stroke="#1f4e79"'
        ' stroke-width="4"><path d="M60 60h540M60 180h540"/>'
        f'{beams}<circle cx="60" cy="200" r="16"/><circle cx="600" cy="200" r="16"/></svg>'
    ).encode()


def _sunrise(width: int, height: int) -> bytes:
    """A PNG without a library: a sky, a sun, a ridge."""
    rows = b"".join(b"\0" + _row(y, width, height) for y in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in parts)


def _row(y: int, width: int, height: int) -> bytes:
    pixels = bytearray()
    for x in range(width):
        ridge = height * (0.72 + 0.1 * math.sin(x / 47) + 0.05 * math.sin(x / 13))
        depth = y / height
        if y > ridge:
            pixels += bytes((24, 34, int(52 + 20 * depth)))
        elif math.hypot(x - width * 0.62, y - height * 0.6) < 34:
            pixels += bytes((255, 226, 150))
        else:
            pixels += bytes((int(70 + 185 * depth), int(90 + 90 * depth), int(150 - 30 * depth)))
    return bytes(pixels)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
