import copy

import pytest

from kserve_has import contract
from webhook.inference_service import check_inference_service, default_inference_service


def service(annotations=None, predictor=None, **spec):
    ours = {
        contract.OBJECTIVE_LATENCY: "100ms",
        contract.SERVED_MODEL: "resnet50",
        contract.GPU_MEMORY: "4Gi",
    }
    container = {"name": "kserve-container", "image": "x"}
    return {
        "metadata": {"name": "a", "annotations": ours if annotations is None else annotations},
        "spec": {"predictor": predictor or {"containers": [container]}, **spec},
    }


def annotated(**more):
    result = service()
    result["metadata"]["annotations"].update(more.pop("annotations", {}))
    return result


def problems(item, old=None):
    return check_inference_service(item, old).problems


def with_predictor(**fields):
    return service(predictor={"containers": [{"name": "kserve-container"}], **fields})


def test_an_opted_in_service_is_run_in_standard_mode_without_kserves_autoscaler():
    annotations = default_inference_service(service())["metadata"]["annotations"]
    assert "external" == annotations["serving.kserve.io/autoscalerClass"]
    assert "Standard" == annotations["serving.kserve.io/deploymentMode"]


def test_defaulting_leaves_its_input_and_what_the_user_chose():
    chosen = annotated(annotations={contract.KSERVE_AUTOSCALER_CLASS: "hpa"})
    before = copy.deepcopy(chosen)
    result = default_inference_service(chosen)
    assert before == chosen
    assert "hpa" == result["metadata"]["annotations"][contract.KSERVE_AUTOSCALER_CLASS]


@pytest.mark.parametrize("annotations", [{}, {"example.com/a": "b"}, {contract.BATCH: "1"}])
def test_a_service_without_objective_is_not_defaulted(annotations):
    item = service(annotations)
    assert item is default_inference_service(item)


def test_a_service_without_annotations_of_ours_is_accepted_whatever_it_says():
    assert () == problems(service({contract.KSERVE_AUTOSCALER_CLASS: "keda"}))


def test_a_good_service_is_accepted_without_a_word():
    verdict = check_inference_service(default_inference_service(service()))
    assert ((), ()) == (verdict.problems, verdict.warnings)


@pytest.mark.parametrize("chosen", ["hpa", "keda", "none"])
def test_another_autoscaler_is_refused(chosen):
    (problem,) = problems(annotated(annotations={contract.KSERVE_AUTOSCALER_CLASS: chosen}))
    assert f"serving.kserve.io/autoscalerClass is {chosen!r}" in problem
    assert "external only" in problem


@pytest.mark.parametrize("mode", ["Knative", "Serverless", "ModelMesh"])
def test_another_deployment_mode_is_refused(mode):
    (problem,) = problems(annotated(annotations={contract.KSERVE_DEPLOYMENT_MODE: mode}))
    assert f"serving.kserve.io/deploymentMode is {mode!r}" in problem


@pytest.mark.parametrize("mode", ["Standard", "RawDeployment"])
def test_both_names_of_standard_mode_are_accepted(mode):
    assert () == problems(annotated(annotations={contract.KSERVE_DEPLOYMENT_MODE: mode}))


def test_opting_in_a_service_that_knative_runs_is_refused_with_the_way_out():
    running = service()
    running["status"] = {"deploymentMode": "Knative"}
    (problem,) = problems(running, old=service({}))
    assert "delete the InferenceService and create it again" in problem


@pytest.mark.parametrize("path", ["predictor", "canary"])
def test_our_annotations_on_a_predictor_are_refused_even_when_the_service_has_none(path):
    ours = {"annotations": {contract.OBJECTIVE_LATENCY: "1s"}}
    item = service({}, predictor=ours) if path == "predictor" else service({})
    if path == "canary":
        item["spec"]["canary"] = [{"predictor": {"name": "b", **ours}}]
    (problem,) = problems(item)
    where = "spec.predictor" if path == "predictor" else "spec.canary[0].predictor"
    assert problem.startswith(f"{where}.annotations has kserve-has/objective-latency; write it in")


@pytest.mark.parametrize(
    ("low", "high", "refused"),
    [
        (1, 6, False),
        (0, 1, False),
        (3, 3, False),
        (None, 1, False),
        (2, None, False),
        (2, 0, False),
        (3, 2, True),
        (-1, 2, True),
        (None, -1, True),
    ],
)
def test_replica_bounds_must_leave_room(low, high, refused):
    bounds = {"minReplicas": low, "maxReplicas": high}
    item = with_predictor(**{key: value for key, value in bounds.items() if value is not None})
    assert refused == bool(problems(item))


def test_a_canary_is_checked_like_the_predictor():
    gpus = {"resources": {"limits": {"nvidia.com/gpu": 4}}}
    canary = {"name": "b", "containers": [{"name": "kserve-container", **gpus}]}
    (problem,) = problems(service(canary=[{"predictor": canary, "trafficPercent": 10}]))
    assert problem.startswith("spec.canary[0].predictor.containers[0].resources")


def test_fields_that_have_no_effect_are_warned_of():
    verdict = check_inference_service(with_predictor(scaleTarget=10, scaleMetric="cpu"))
    assert () == verdict.problems
    assert [
        "spec.predictor.scaleTarget has no effect: kserve-has/objective-latency decides",
        "spec.predictor.scaleMetric has no effect: kserve-has/objective-latency decides",
    ] == list(verdict.warnings)


@pytest.mark.parametrize("kind", ["requests", "limits"])
@pytest.mark.parametrize("amount", [1, "1"], ids=["number", "text"])
def test_one_whole_gpu_is_warned_of(kind, amount):
    container = {"name": "kserve-container", "resources": {kind: {"nvidia.com/gpu": amount}}}
    verdict = check_inference_service(service(predictor={"containers": [container]}))
    assert () == verdict.problems
    (warning,) = verdict.warnings
    assert "kserve-has takes it out of the pods" in warning


@pytest.mark.parametrize(
    ("container", "told"),
    [
        ({"name": "kserve-container", "limits": {"nvidia.com/gpu": 2}}, "a piece of one GPU"),
        ({"name": "kserve-container", "limits": {"nvidia.com/mig-1g.5gb": 1}}, "cuts whole GPUs"),
        ({"name": "helper", "limits": {"nvidia.com/gpu": 1}}, "only kserve-container can run"),
    ],
)
def test_gpus_that_cannot_be_given_are_refused(container, told):
    limits = container.pop("limits")
    containers = [{**container, "resources": {"limits": limits}}]
    (problem,) = problems(service(predictor={"containers": containers}))
    assert told in problem


def test_gpus_of_a_model_in_kserves_own_form_are_checked_too():
    model = {"modelFormat": {"name": "onnx"}, "resources": {"limits": {"nvidia.com/gpu": "2"}}}
    (problem,) = problems(service(predictor={"model": model}))
    assert problem.startswith("spec.predictor.model.resources has nvidia.com/gpu '2'")


def test_several_pods_for_one_replica_are_refused():
    (problem,) = problems(with_predictor(workerSpec={"pipelineParallelSize": 2}))
    assert "spec.predictor.workerSpec" in problem


def test_what_was_stored_wrong_may_still_be_touched_elsewhere_and_deleted():
    wrong = annotated(annotations={contract.BATCH: "many"})
    labelled = copy.deepcopy(wrong)
    labelled["metadata"]["finalizers"] = ["inferenceservice.finalizers"]
    assert () == problems(labelled, old=wrong)
    leaving = copy.deepcopy(wrong)
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert () == problems(leaving)


@pytest.mark.parametrize("part", ["annotations", "spec"])
def test_an_update_of_ours_is_checked_like_a_creation(part):
    old, new = service(), service()
    if part == "annotations":
        new["metadata"]["annotations"][contract.BATCH] = "many"
    else:
        new["spec"]["predictor"]["minReplicas"] = -2
    assert 1 == len(problems(new, old=old))


@pytest.mark.parametrize("timeout", [0, -5, 3601, 10**16])
def test_a_timeout_that_the_gateway_cannot_keep_is_refused(timeout):
    (problem,) = problems(with_predictor(timeout=timeout))
    assert f"spec.predictor.timeout is {timeout}; it takes whole seconds in 1..3600" in problem
    (problem,) = problems(service(canary=[{"predictor": {"name": "b", "timeout": timeout}}]))
    assert problem.startswith("spec.canary[0].predictor.timeout")


@pytest.mark.parametrize("timeout", [1, 3600])
def test_a_timeout_that_the_gateway_keeps_is_accepted(timeout):
    assert () == problems(with_predictor(timeout=timeout))


@pytest.mark.parametrize("part", ["transformer", "explainer"])
def test_what_the_gateway_would_pass_by_is_refused(part):
    item = service(**{part: {"containers": [{"name": "kserve-container"}]}})
    (problem,) = problems(item)
    assert problem.startswith(f"spec.{part} would get no requests: the gateway")
    assert () == problems(service({}, **{part: {}}))


def test_everything_wrong_with_a_service_is_told_at_once():
    item = with_predictor(minReplicas=-1, workerSpec={"a": 1})
    item["metadata"]["annotations"] |= {
        contract.BATCH: "0",
        contract.QUOTA: "40",
        contract.KSERVE_AUTOSCALER_CLASS: "hpa",
    }
    assert 5 == len(problems(item))
