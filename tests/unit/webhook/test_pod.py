import copy

import pytest

from kserve_has import contract
from kserve_has.config.webhook import WebhookSettings
from kserve_has.errors import AnnotationError
from webhook.annotations import MACHINE_ANNOTATIONS
from webhook.pod import INJECTED_VERSION, inject

SETTINGS = WebhookSettings()
LIBRARY = "/run/kserve-has/libhas_quota.so"


def pod(container=None, annotations=None, **spec):
    served = {"name": "kserve-container", "image": "model", **(container or {})}
    ours = {contract.OBJECTIVE_LATENCY: "100ms"} if annotations is None else annotations
    return {
        "metadata": {"generateName": "a-", "annotations": ours},
        "spec": {"containers": [served], **spec},
    }


def injected(item, settings=SETTINGS):
    return inject(item, settings)["spec"]


def environment(spec, index=0):
    return {entry["name"]: entry for entry in spec["containers"][index]["env"]}


def test_a_pod_without_objective_is_untouched():
    item = pod(annotations={})
    assert item is inject(item, SETTINGS)


def test_the_input_is_not_changed():
    item = pod(env=[])
    before = copy.deepcopy(item)
    inject(item, SETTINGS)
    assert before == item


def test_the_sidecar_is_native_and_lets_the_model_start_only_when_limits_are_in_force():
    (sidecar,) = injected(pod())["initContainers"]
    assert "kserve-has-quota" == sidecar["name"]
    assert "Always" == sidecar["restartPolicy"]
    assert ["kserve-has-sidecar"] == sidecar["command"]
    assert {"path": "/healthz", "port": 9402} == sidecar["startupProbe"]["httpGet"]


def test_the_sidecar_comes_after_the_init_containers_that_are_there():
    spec = injected(pod(initContainers=[{"name": "storage-initializer"}]))
    assert ["storage-initializer", "kserve-has-quota"] == [
        c["name"] for c in spec["initContainers"]
    ]


def test_the_served_container_stays_first_and_others_are_left_alone():
    item = pod()
    item["spec"]["containers"].append({"name": "agent", "image": "b"})
    spec = injected(item)
    assert ["kserve-container", "agent"] == [c["name"] for c in spec["containers"]]
    assert {"name": "agent", "image": "b"} == spec["containers"][1]


def test_settings_reach_the_pod():
    settings = WebhookSettings(
        sidecar_image="registry/sidecar:2",
        sidecar_cpu_request="20m",
        sidecar_memory_request="64Mi",
        sidecar_memory_limit="256Mi",
        volume_size="32Mi",
        startup_timeout_s=7,
        runtime_class="nvidia",
    )
    spec = injected(pod(), settings)
    (sidecar,) = spec["initContainers"]
    assert "registry/sidecar:2" == sidecar["image"]
    assert {"cpu": "20m", "memory": "64Mi"} == sidecar["resources"]["requests"]
    assert {"memory": "256Mi"} == sidecar["resources"]["limits"]
    assert (7, 1) == (
        sidecar["startupProbe"]["failureThreshold"],
        sidecar["startupProbe"]["periodSeconds"],
    )
    assert "32Mi" == spec["volumes"][0]["emptyDir"]["sizeLimit"]
    assert "nvidia" == spec["runtimeClassName"]


def test_a_runtime_class_of_the_users_own_stays_and_none_is_invented():
    chosen = injected(pod(runtimeClassName="kata"), WebhookSettings(runtime_class="nvidia"))
    assert "kata" == chosen["runtimeClassName"]
    assert "runtimeClassName" not in injected(pod())


def test_sidecar_and_model_share_a_memory_volume():
    spec = injected(pod())
    (volume,) = spec["volumes"]
    assert {"medium": "Memory", "sizeLimit": "16Mi"} == volume["emptyDir"]
    mount = {"name": volume["name"], "mountPath": "/run/kserve-has"}
    assert [mount] == spec["containers"][0]["volumeMounts"]
    assert [mount] == spec["initContainers"][0]["volumeMounts"]


@pytest.mark.parametrize(
    ("existing", "expected"),
    [
        (None, LIBRARY),
        ("", LIBRARY),
        ("/usr/lib/libjemalloc.so", f"{LIBRARY}:/usr/lib/libjemalloc.so"),
        ("/a.so /b.so", f"{LIBRARY}:/a.so:/b.so"),
        (f"/a.so:{LIBRARY}", f"{LIBRARY}:/a.so"),
    ],
)
def test_the_quota_library_is_preloaded_before_what_is_preloaded_already(existing, expected):
    env = [] if existing is None else [{"name": "LD_PRELOAD", "value": existing}]
    spec = injected(pod(container={"env": env}))
    assert expected == environment(spec)["LD_PRELOAD"]["value"]


def test_the_last_of_several_equal_variables_counts_as_it_does_for_kubelet():
    env = [{"name": "LD_PRELOAD", "value": "/a.so"}, {"name": "LD_PRELOAD", "value": "/b.so"}]
    entries = injected(pod(container={"env": env}))["containers"][0]["env"]
    preloads = [entry["value"] for entry in entries if entry["name"] == "LD_PRELOAD"]
    assert [f"{LIBRARY}:/b.so"] == preloads


def test_the_visible_device_is_the_one_the_autoscaler_will_choose():
    env = [{"name": "NVIDIA_VISIBLE_DEVICES", "value": "all"}, {"name": "KEPT", "value": "1"}]
    spec = injected(pod(container={"env": env}))
    source = environment(spec)["NVIDIA_VISIBLE_DEVICES"]
    field = source["valueFrom"]["fieldRef"]["fieldPath"]
    assert "metadata.annotations['kserve-has/gpu-uuid']" == field
    assert "value" not in source
    assert "1" == environment(spec)["KEPT"]["value"]


def test_the_model_knows_where_the_limits_are():
    assert "/run/kserve-has" == environment(injected(pod()))["KSERVE_HAS_DIR"]["value"]


def test_the_pod_waits_at_the_gate_for_a_dedicated_node():
    item = pod(schedulingGates=[{"name": "other"}], nodeSelector={"zone": "b"}, tolerations=[])
    spec = injected(item)
    assert [{"name": "other"}, {"name": "kserve-has/placement"}] == spec["schedulingGates"]
    assert {"zone": "b", "kserve-has/gpu-node": "true"} == spec["nodeSelector"]
    assert spec["tolerations"] == [
        {
            "key": "kserve-has/gpu-node",
            "operator": "Equal",
            "value": "true",
            "effect": "NoSchedule",
        },
        {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},
    ]


@pytest.mark.parametrize("kind", ["requests", "limits"])
def test_a_whole_gpu_is_taken_out_and_other_resources_stay(kind):
    resources = {kind: {"nvidia.com/gpu": "1", "cpu": "1"}}
    spec = injected(pod(container={"resources": resources}))
    assert {kind: {"cpu": "1"}} == spec["containers"][0]["resources"]


@pytest.mark.parametrize("key", [k for k in MACHINE_ANNOTATIONS if k != contract.INJECTED])
def test_a_pod_is_born_without_an_allocation(key):
    copied = {contract.OBJECTIVE_LATENCY: "1s", contract.INJECTED: INJECTED_VERSION, key: "1"}
    once = inject(pod(), SETTINGS)
    once["metadata"]["annotations"] = copied
    assert key not in inject(once, SETTINGS)["metadata"]["annotations"]


def test_what_another_webhook_changed_in_our_container_stays():
    once = inject(pod(), SETTINGS)
    once["spec"]["initContainers"][0]["image"] = "mirror/sidecar:0.1.0"
    assert once == inject(once, SETTINGS)


@pytest.mark.parametrize("field", ["initContainers", "volumes", "schedulingGates"])
def test_a_pod_that_only_claims_to_be_injected_is_injected(field):
    complete = inject(pod(), SETTINGS)
    claimed = copy.deepcopy(complete)
    del claimed["spec"][field]
    assert complete == inject(claimed, SETTINGS)


def test_a_pod_that_claims_to_be_injected_but_preloads_nothing_is_injected():
    complete = inject(pod(), SETTINGS)
    claimed = copy.deepcopy(complete)
    claimed["spec"]["containers"][0]["env"] = []
    assert complete == inject(claimed, SETTINGS)


def test_all_that_prevents_an_injection_is_told_at_once():
    reference = {"valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
    item = pod(container={"env": [{"name": "LD_PRELOAD", **reference}]}, nodeName="n")
    with pytest.raises(AnnotationError) as told:
        inject(item, SETTINGS)
    assert 2 == len(told.value.problems)
    assert "LD_PRELOAD of kserve-container comes from a reference" in told.value.problems[0]
    assert "spec.nodeName is 'n'" in told.value.problems[1]


def test_a_pod_whose_model_has_another_name_is_refused():
    with pytest.raises(AnnotationError, match=r"spec\.containers are main; .* kserve-container"):
        inject(pod(container={"name": "main"}), SETTINGS)
