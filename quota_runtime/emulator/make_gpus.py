"""Make the folder of emulated GPUs of one node.

``gpus.json`` describes them; ``UUID.gpu`` is the shared file in which every process that uses the
emulated driver keeps the state of that GPU. The files are sparse: only what is used takes room.
"""

from __future__ import annotations

import argparse
import json
import os
import struct
import uuid
from pathlib import Path

from kserve_has.gpu import H200, GpuGeometry

MAGIC = b"HAEUGPU1"
LAYOUT = 1
HEADER = struct.Struct("<8sIIIIQ48s64s")  # the first fields of struct emu_gpu in gpu_file.h
FILE_BYTES = 64 << 20  # at least sizeof(struct emu_gpu); the library refuses a smaller file
_NAMESPACE = uuid.UUID("6ff7b3a6-3f0e-5a51-9d2e-0a7f8f3f2b11")


def gpu_uuid(seed: str, index: int) -> str:
    """Return the UUID of GPU ``index`` of the node called ``seed``, always the same."""
    return f"GPU-{uuid.uuid5(_NAMESPACE, f'{seed}/{index}')}"


def make_gpus(
    folder: Path, count: int, seed: str, geometry: GpuGeometry = H200
) -> list[dict[str, str | int]]:
    """Write ``count`` idle GPUs into ``folder`` and return what ``gpus.json`` says of them.

    Files are replaced, not rewritten: a process that still maps an old one cannot spoil a new one.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    described: list[dict[str, str | int]] = []
    for index in range(count):
        name = gpu_uuid(seed, index)
        _replace(folder / f"{name}.gpu", _header(name, geometry), FILE_BYTES)
        described.append(
            {
                "uuid": name,
                "product": geometry.product,
                "sm_count": geometry.sm_count,
                "sm_group_size": geometry.sm_group_size,
                "memory_bytes": geometry.memory_bytes,
            }
        )
    text = json.dumps(described, indent=1) + "\n"
    _replace(folder / "gpus.json", text.encode(), len(text))
    return described


def _header(name: str, geometry: GpuGeometry) -> bytes:
    return HEADER.pack(
        MAGIC,
        LAYOUT,
        geometry.sm_count,
        geometry.sm_group_size,
        0,
        geometry.memory_bytes,
        name.encode(),
        geometry.product.encode(),
    )


def _replace(path: Path, content: bytes, size: int) -> None:
    temporary = path.with_suffix(".new")
    with temporary.open("wb") as file:
        file.write(content)
        file.truncate(size)
    os.replace(temporary, path)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, help="where to write gpus.json and the GPU files")
    parser.add_argument("--count", type=int, default=2, help="number of GPUs (default 2)")
    parser.add_argument("--seed", default="node", help="name that makes the UUIDs, such as a node")
    options = parser.parse_args(arguments)
    for gpu in make_gpus(options.folder, options.count, options.seed):
        print(gpu["uuid"])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
