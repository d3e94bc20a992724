"""A service that cannot be served is refused by the real API server, with every reason."""

import pytest

from kserve_has.errors import StackError
from kserve_has.localstack.layout import repository

pytestmark = pytest.mark.stack

REASONS = (
    "kserve-has/objective-latency",
    "kserve-has/objective-percentile",
    "kserve-has/batch",
    "kserve-has/gpu-memry",
    "kserve-has/quota",
    "serving.kserve.io/autoscalerClass",
    "nvidia.com/gpu",
)


def test_a_wrong_service_is_refused_with_all_its_problems_at_once(full_stack):
    samples = repository() / "manifests" / "samples"
    full_stack.kubectl("apply", "-f", str(samples / "namespace.yaml"))
    with pytest.raises(StackError) as refusal:
        full_stack.kubectl("apply", "-f", str(samples / "refused.yaml"))
    assert all(reason in str(refusal.value) for reason in REASONS), str(refusal.value)
    assert full_stack.kubectl("get", "inferenceservices", "-A", "-oname") == ""
