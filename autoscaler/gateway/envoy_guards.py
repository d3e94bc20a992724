"""What keeps one client from taking a gateway away from all: slow uploads and too much memory."""

from __future__ import annotations

from typing import Any, Final

from kserve_has.config.gateway import GatewaySettings

Resource = dict[str, Any]

_TYPES: Final = "type.googleapis.com/envoy.extensions."
_BUFFER: Final = _TYPES + "filters.http.buffer.v3.Buffer"
_HEAP: Final = _TYPES + "resource_monitors.fixed_heap.v3.FixedHeapConfig"


def whole_requests(settings: GatewaySettings) -> Resource:
    """Return the filter that passes a request on when its last byte is there.

    A replica has few places, and one is taken with a request's first byte.
    """
    return {
        "name": "envoy.filters.http.buffer",
        "typed_config": {"@type": _BUFFER, "max_request_bytes": settings.max_request_bytes},
    }


def overload(settings: GatewaySettings) -> Resource:
    """Return when Envoy answers new requests 503 for want of memory, instead of being killed.

    Requests whose body is on its way are not ended: the limit of the process lies above.
    """
    heap = "envoy.resource_monitors.fixed_heap"
    size = {"@type": _HEAP, "max_heap_size_bytes": settings.max_heap_bytes}
    return {
        "refresh_interval": "0.1s",
        "resource_monitors": [{"name": heap, "typed_config": size}],
        "actions": [
            {
                "name": "envoy.overload_actions.stop_accepting_requests",
                "triggers": [{"name": heap, "threshold": {"value": 1.0}}],
            }
        ],
    }
