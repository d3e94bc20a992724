"""Whatever pod comes: twice is once, only what is ours changes, and the patch does what it says."""

import copy
import json

from hypothesis import given
from hypothesis import strategies as st

from kserve_has import contract
from kserve_has.config.webhook import WebhookSettings
from webhook.annotations import MACHINE_ANNOTATIONS
from webhook.inference_service import check_inference_service, default_inference_service
from webhook.json_patch import json_patch
from webhook.pod import inject

SETTINGS = WebhookSettings(
    runtime_class="nvidia", mps_pipes="/run/node-mps", leases="/run/node-leases"
)
OUR_VARIABLES = {
    contract.ENV_PRELOAD,
    contract.ENV_QUOTA_DIR,
    contract.ENV_VISIBLE_DEVICES,
    contract.ENV_MPS_PIPES,
    contract.ENV_LEASES,
}
OUR_VOLUMES = {contract.QUOTA_VOLUME, contract.MPS_VOLUME, contract.LEASES_VOLUME}

names = st.text("abc-~/", min_size=1, max_size=6)
scalars = st.none() | st.booleans() | st.integers(-3, 3) | st.text("ab~/", max_size=3)
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=15,
)
documents = st.dictionaries(names, json_values, max_size=4)
variables = st.builds(
    lambda name, value: {"name": name, "value": value},
    names | st.sampled_from(sorted(OUR_VARIABLES)),
    st.text("/ab.so: ", max_size=10),
)
amounts = st.dictionaries(
    st.sampled_from(["cpu", "memory", "nvidia.com/gpu"]), st.sampled_from(["1", "2"])
)


def container(name):
    return st.fixed_dictionaries(
        {"name": name},
        optional={
            "image": names,
            "env": st.lists(variables, max_size=4),
            "volumeMounts": st.lists(st.builds(lambda n: {"name": n, "mountPath": n}, names)),
            "resources": st.fixed_dictionaries(
                {}, optional={"limits": amounts, "requests": amounts}
            ),
        },
    )


others = names.map(lambda name: f"x{name}")
containers = st.tuples(
    container(st.just(contract.KSERVE_CONTAINER)), st.lists(container(others), max_size=2)
).map(lambda pair: [pair[0], *pair[1]])
annotations = st.dictionaries(
    names | st.sampled_from(MACHINE_ANNOTATIONS), st.text("01", max_size=2), max_size=4
)
named = st.builds(lambda name: {"name": name}, others)
specs = st.fixed_dictionaries(
    {"containers": containers},
    optional={
        "initContainers": st.lists(
            container(others | st.just(contract.SIDECAR_CONTAINER)), max_size=2
        ),
        "volumes": st.lists(named, max_size=2),
        "schedulingGates": st.lists(
            named | st.just({"name": contract.SCHEDULING_GATE}), max_size=2
        ),
        "tolerations": st.lists(st.builds(lambda k: {"key": k}, names), max_size=2),
        "nodeSelector": st.dictionaries(names | st.just(contract.NODE_LABEL), names, max_size=2),
        "runtimeClassName": names,
        "hostNetwork": st.booleans(),
    },
)
opted_in = st.builds(
    lambda own, spec: {
        "metadata": {
            "generateName": "a-",
            "annotations": {**own, contract.OBJECTIVE_LATENCY: "100ms"},
        },
        "spec": spec,
    },
    annotations,
    specs,
)


def applied(document, patch):
    """An RFC 6902 interpreter as plain as can be; JSON in between, as on the wire."""
    result = copy.deepcopy(document)
    for step in json.loads(json.dumps(patch)):
        *way, last = [
            part.replace("~1", "/").replace("~0", "~") for part in step["path"].split("/")[1:]
        ]
        parent = result
        for part in way:
            parent = parent[int(part)] if isinstance(parent, list) else parent[part]
        if isinstance(parent, list):
            if step["op"] == "add":
                assert last == "-"
                parent.append(step["value"])
            elif step["op"] == "remove":
                del parent[int(last)]
            else:
                parent[int(last)] = step["value"]
        elif step["op"] == "remove":
            del parent[last]
        else:
            assert (last in parent) is (step["op"] == "replace")
            parent[last] = step["value"]
    return result


def canonical(document):
    return json.dumps(document, sort_keys=True)


@given(documents, documents)
def test_a_patch_turns_any_document_into_any_other(before, after):
    assert canonical(after) == canonical(applied(before, json_patch(before, after)))


@given(opted_in)
def test_injecting_twice_is_injecting_once(pod):
    once = inject(pod, SETTINGS)
    assert once == inject(once, SETTINGS)
    assert [] == json_patch(once, inject(once, SETTINGS))


@given(opted_in)
def test_the_patch_of_a_pod_gives_the_injected_pod(pod):
    once = inject(pod, SETTINGS)
    assert canonical(once) == canonical(applied(pod, json_patch(pod, once)))


@given(opted_in)
def test_injection_changes_nothing_but_what_is_ours(pod):
    assert without_ours(pod) == without_ours(inject(pod, SETTINGS))


@given(opted_in)
def test_an_injected_pod_holds_each_part_exactly_once(pod):
    spec = inject(pod, SETTINGS)["spec"]
    assert 1 == count(spec["initContainers"], contract.SIDECAR_CONTAINER)
    assert all(1 == count(spec["volumes"], name) for name in OUR_VOLUMES)
    assert 1 == count(spec["schedulingGates"], contract.SCHEDULING_GATE)
    served = spec["containers"][0]
    assert all(1 == count(served["volumeMounts"], name) for name in OUR_VOLUMES)
    assert all(1 == count(served["env"], name) for name in OUR_VARIABLES)
    for kind in ("limits", "requests"):
        assert "nvidia.com/gpu" not in served.get("resources", {}).get(kind, {})


@given(
    st.builds(
        lambda own, spec: {"metadata": {"annotations": own}, "spec": spec}, annotations, specs
    )
)
def test_a_pod_that_did_not_opt_in_is_never_touched(pod):
    assert pod is inject(pod, SETTINGS)


@given(annotations, json_values)
def test_defaulting_a_service_twice_is_defaulting_it_once(own, extra):
    mine = {**own, contract.OBJECTIVE_LATENCY: "1s"}
    service = {"metadata": {"annotations": mine}, "spec": {"predictor": {}}, "extra": extra}
    once = default_inference_service(service)
    assert once == default_inference_service(once)
    added = {contract.KSERVE_AUTOSCALER_CLASS, contract.KSERVE_DEPLOYMENT_MODE}
    assert added == set(once["metadata"]["annotations"]) - set(mine)
    assert {**once, "metadata": service["metadata"]} == service


@given(st.dictionaries(st.sampled_from(contract.USER_ANNOTATIONS) | names, st.text(max_size=8)))
def test_any_text_is_judged_and_each_problem_names_its_key(own):
    service = {"metadata": {"annotations": own}, "spec": {"predictor": {}}}
    for problem in check_inference_service(service).problems:
        assert problem.startswith("kserve-has/")


def count(entries, name):
    return sum(entry["name"] == name for entry in entries)


def without_ours(pod):
    """The pod less everything that injection may add, change or take away."""
    result = copy.deepcopy(pod)
    marks = result["metadata"]["annotations"]
    for key in MACHINE_ANNOTATIONS:
        marks.pop(key, None)
    spec = result["spec"]
    ours = {
        "initContainers": {contract.SIDECAR_CONTAINER},
        "volumes": OUR_VOLUMES,
        "schedulingGates": {contract.SCHEDULING_GATE},
    }
    for field, mine in ours.items():
        spec[field] = [entry for entry in spec.get(field, []) if entry["name"] not in mine]
    spec["tolerations"] = [
        t
        for t in spec.get("tolerations", [])
        if t["key"] not in (contract.NODE_TAINT, "nvidia.com/gpu")
    ]
    spec["nodeSelector"] = {**spec.get("nodeSelector", {}), contract.NODE_LABEL: ""}
    spec.setdefault("runtimeClassName", "nvidia")
    served = spec["containers"][0]
    served["env"] = [e for e in served.get("env", []) if e["name"] not in OUR_VARIABLES]
    mounts = served.get("volumeMounts", [])
    served["volumeMounts"] = [m for m in mounts if m["name"] not in OUR_VOLUMES]
    for amount in served.get("resources", {}).values():
        amount.pop("nvidia.com/gpu", None)
    return result
