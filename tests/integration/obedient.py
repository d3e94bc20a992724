"""A process that follows its limits as the preload library does, without any GPU.

Run as ``python obedient.py SECONDS [stubborn]``: it takes up every change after that many seconds;
a stubborn one does not end until it is killed.
"""

import mmap
import os
import signal
import sys
import time
from pathlib import Path

from kserve_has import contract
from quota_runtime import layout, region


def main(delay_s: float) -> None:
    folder = Path(os.environ.get(contract.ENV_QUOTA_DIR, contract.QUOTA_DIR))
    if "stubborn" in sys.argv:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    usage = folder / contract.USAGE_FILE
    usage.write_bytes(bytes(region.USAGE_SIZE))
    with usage.open("r+b") as file:
        mapped = mmap.mmap(file.fileno(), region.USAGE_SIZE)
    header = layout.RawUsageHeader.from_buffer(mapped)
    slot = layout.RawUsageSlot.from_buffer(mapped, 64)
    header.abi_version, header.slots = region.ABI_VERSION, region.USAGE_SLOTS
    header.magic = region.USAGE_MAGIC
    slot.pid, slot.start_time, slot.state = os.getpid(), 1, region.SLOT_LIVE
    while True:
        limits = region.read_limits(folder / contract.LIMITS_FILE)
        slot.heartbeat_ns = time.monotonic_ns()
        if limits is not None and limits.epoch != slot.epoch_in_force:
            time.sleep(delay_s)
            slot.quota_permille = limits.quota_permille
            slot.in_force_at_ns = time.monotonic_ns()
            slot.epoch_in_force = limits.epoch
            slot.launches += 1
        time.sleep(0.002)


main(float(sys.argv[1]))
