"""Archives (torch's files, npz) whose checksums fit what was changed in them, so that changes reach what is inside."""

from __future__ import annotations

import io
import zipfile


def archive(members: dict[str, bytes]) -> bytes:
    """A zip file of members by name."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return stream.getvalue()


def members(content: bytes) -> dict[str, bytes]:
    """What is in a zip file, by name."""
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        return {name: file.read(name) for name in file.namelist()}
