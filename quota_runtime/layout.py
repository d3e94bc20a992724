"""Where each figure lies in the files that agent and library share.

Twin of ``include/has_abi.h``; a test compares every offset with what the C compiler says.
"""

from __future__ import annotations

import ctypes
from typing import Final

NEXT: Final = 8  # partitions that a limits block can name as likely to come

Words = ctypes.c_uint64 * 2  # a bitmap of split groups


class RawLimits(ctypes.Structure):
    """``struct has_limits``, field by field."""

    _fields_ = (
        ("magic", ctypes.c_uint64),
        ("abi_version", ctypes.c_uint32),
        ("size", ctypes.c_uint32),
        ("seq", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("epoch", ctypes.c_uint64),
        ("sm_groups", Words),
        ("max_sm_groups", Words),
        ("sm_group_size", ctypes.c_uint32),
        ("quota_permille", ctypes.c_uint32),
        ("window_ns", ctypes.c_uint64),
        ("max_outstanding_ns", ctypes.c_uint64),
        ("memory_limit_bytes", ctypes.c_uint64),
        ("phase_ns", ctypes.c_uint64),
        ("written_at_ns", ctypes.c_int64),
        ("gpu_uuid", ctypes.c_char * 48),
        ("lease_conflicts", ctypes.c_uint64),
        ("lease_slice_ns", ctypes.c_uint64),
        ("lease_slot", ctypes.c_uint32),
        ("reserved0", ctypes.c_uint32),
        ("next_sm_groups", Words * NEXT),
        ("reserved", ctypes.c_uint64 * 8),
    )


class RawUsageHeader(ctypes.Structure):
    """``struct has_usage_header``, field by field."""

    _fields_ = (
        ("magic", ctypes.c_uint64),
        ("abi_version", ctypes.c_uint32),
        ("slots", ctypes.c_uint32),
        ("memory_bytes", ctypes.c_uint64),
        ("balance_ns", ctypes.c_int64),
        ("quota_window", ctypes.c_uint64),
        ("waited_ns", ctypes.c_uint64),
        ("lost_ns", ctypes.c_int64),
        ("credited_ns", ctypes.c_int64),
    )


class RawUsageSlot(ctypes.Structure):
    """``struct has_usage_slot``, field by field."""

    _fields_ = (
        ("state", ctypes.c_uint32),
        ("pid", ctypes.c_uint32),
        ("start_time", ctypes.c_uint64),
        ("epoch_in_force", ctypes.c_uint64),
        ("in_force_at_ns", ctypes.c_int64),
        ("sm_groups", Words),
        ("quota_permille", ctypes.c_uint32),
        ("faults", ctypes.c_uint32),
        ("launches", ctypes.c_uint64),
        ("ungated_launches", ctypes.c_uint64),
        ("graph_launches", ctypes.c_uint64),
        ("gpu_time_ns", ctypes.c_uint64),
        ("area_sm_ns", ctypes.c_uint64),
        ("throttled_ns", ctypes.c_uint64),
        ("overrun_ns", ctypes.c_uint64),
        ("memory_bytes", ctypes.c_uint64),
        ("memory_peak_bytes", ctypes.c_uint64),
        ("memory_refused", ctypes.c_uint64),
        ("resizes", ctypes.c_uint64),
        ("resize_last_ns", ctypes.c_uint64),
        ("heartbeat_ns", ctypes.c_int64),
        ("lease_at_ns", ctypes.c_int64),
        ("leases", ctypes.c_uint64),
        ("lease_wait_ns", ctypes.c_uint64),
        ("borrowed_ns", ctypes.c_uint64),
        ("lease_faults", ctypes.c_uint64),
        ("partitions", ctypes.c_uint64),
        ("partitions_ahead", ctypes.c_uint64),
        ("notice_ns", ctypes.c_uint64),
        ("make_start_ns", ctypes.c_uint64),
        ("make_split_ns", ctypes.c_uint64),
        ("make_context_ns", ctypes.c_uint64),
        ("make_streams_ns", ctypes.c_uint64),
    )
