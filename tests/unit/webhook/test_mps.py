import copy
import dataclasses

import pytest

from kserve_has import contract
from kserve_has.config.webhook import WebhookSettings
from kserve_has.errors import AnnotationError
from webhook import __main__ as program
from webhook.inference_service import check_inference_service, default_inference_service
from webhook.pod import inject

WITH_MPS = WebhookSettings(mps_pipes="/run/node-mps")
SHARED = {contract.OBJECTIVE_LATENCY: "100ms"}
EXCLUSIVE = {**SHARED, contract.ISOLATION: "exclusive"}
PIPES = {"name": "CUDA_MPS_PIPE_DIRECTORY", "value": "/run/kserve-has-mps"}


def pod(annotations, **container):
    served = {"name": "kserve-container", "image": "model", **container}
    return {"metadata": {"annotations": dict(annotations)}, "spec": {"containers": [served]}}


def mps_parts(item):
    spec = item["spec"]
    (served,) = spec["containers"]
    return (
        [entry for entry in served["env"] if "MPS" in entry["name"]],
        [entry for entry in served["volumeMounts"] if "mps" in entry["name"]],
        [entry for entry in spec["volumes"] if "mps" in entry["name"]],
    )


def test_a_shared_pod_is_sent_to_the_daemon_of_its_node_and_no_percentage_is_set():
    environment, mounts, volumes = mps_parts(inject(pod(SHARED), WITH_MPS))
    assert [PIPES] == environment
    assert [{"name": "kserve-has-mps", "mountPath": PIPES["value"], "readOnly": True}] == mounts
    assert [{"path": "/run/node-mps", "type": "DirectoryOrCreate"}] == [
        volume["hostPath"] for volume in volumes
    ]


@pytest.mark.parametrize(
    ("annotations", "settings"), [(EXCLUSIVE, WITH_MPS), (SHARED, WebhookSettings())]
)
def test_an_exclusive_pod_and_one_without_a_daemon_get_nothing_of_it(annotations, settings):
    assert ([], [], []) == mps_parts(inject(pod(annotations), settings))


def test_applied_twice_is_applied_once():
    once = inject(pod(SHARED), WITH_MPS)
    assert once is inject(once, WITH_MPS)


def test_a_pod_from_before_mps_was_turned_on_is_completed():
    before = inject(pod(SHARED), WebhookSettings())
    assert [PIPES] == mps_parts(inject(before, WITH_MPS))[0]


def test_the_users_own_daemon_is_replaced_by_ours():
    own = pod(SHARED, env=[{"name": "CUDA_MPS_PIPE_DIRECTORY", "value": "/tmp/nvidia-mps"}])
    assert [PIPES] == mps_parts(inject(own, WITH_MPS))[0]


@pytest.mark.parametrize(
    ("annotations", "name", "words"),
    [
        (SHARED, "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE", "no green context can be made"),
        (EXCLUSIVE, "CUDA_MPS_PIPE_DIRECTORY", "isolation is exclusive"),
    ],
)
def test_variables_that_would_break_what_was_promised_are_refused(annotations, name, words):
    with pytest.raises(AnnotationError, match=words):
        inject(pod(annotations, env=[{"name": name, "value": "50"}]), WITH_MPS)


@pytest.mark.parametrize(
    ("predictor", "where"),
    [
        ({"containers": [{"name": "kserve-container"}]}, "spec.predictor.containers[0]"),
        ({"model": {"modelFormat": {"name": "onnx"}}}, "spec.predictor.model"),
        ({"triton": {}}, "spec.predictor.triton"),
    ],
)
@pytest.mark.parametrize(
    ("isolation", "name"),
    [("shared", "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE"), ("exclusive", "CUDA_MPS_PIPE_DIRECTORY")],
)
def test_a_service_is_refused_for_what_its_pods_would_be(predictor, where, isolation, name):
    annotations = {
        contract.OBJECTIVE_LATENCY: "100ms",
        contract.SERVED_MODEL: "resnet50",
        contract.GPU_MEMORY: "4Gi",
        contract.ISOLATION: isolation,
    }
    predictor = copy.deepcopy(predictor)
    service = {"metadata": {"annotations": annotations}, "spec": {"predictor": predictor}}
    service["metadata"] = default_inference_service(service)["metadata"]
    assert () == check_inference_service(service).problems
    (inner,) = predictor.get("containers") or predictor.values()
    inner["env"] = [{"name": name, "value": "50"}]
    (problem,) = check_inference_service(service).problems
    assert f"{name} in {where} " in problem


@pytest.mark.parametrize(
    ("setting", "option"), [("mps_pipes", "--mps-pipes"), ("leases", "--leases")]
)
def test_the_option_overrides_the_setting(setting, option, monkeypatch, tmp_path):
    seen = []

    async def record(options, host, port, settings):
        seen.append(settings)

    monkeypatch.setattr(program, "_run", record)
    config = tmp_path / "webhook.yaml"
    config.write_text(f"{setting}: /from/file\n")
    assert 0 == program.main(["--config", str(config)])
    assert 0 == program.main(["--config", str(config), option, "/from/option"])
    assert ["/from/file", "/from/option"] == [getattr(settings, setting) for settings in seen]
    assert dataclasses.replace(seen[0], **{setting: ""}) == WebhookSettings()
