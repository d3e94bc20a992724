"""AdmissionReview in, AdmissionReview out (admission.k8s.io/v1). Pure."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from kserve_has.config.webhook import WebhookSettings
from kserve_has.errors import AnnotationError
from kserve_has.kube import JsonObject

from .inference_service import check_inference_service, default_inference_service
from .json_patch import json_patch
from .pod import inject


@dataclass(frozen=True, slots=True)
class Answer:
    """What one admission request is answered: a patch, or the reasons of a refusal."""

    patch: tuple[JsonObject, ...] = ()
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def outcome(self) -> str:
        """``refused``, ``patched`` or ``allowed``, for the metrics."""
        if self.problems:
            return "refused"
        return "patched" if self.patch else "allowed"


Decide = Callable[[JsonObject, WebhookSettings], Answer]


class MalformedReview(ValueError):
    """The body is no AdmissionReview of version v1."""


def read_request(body: bytes) -> JsonObject:
    """Return the ``request`` of an AdmissionReview.

    Raises:
        MalformedReview: the body is something else.

    """
    try:
        review: Any = json.loads(body)
    except ValueError as error:
        raise MalformedReview(f"the body is not JSON: {error}") from error
    request = review.get("request") if isinstance(review, dict) else None
    if not isinstance(request, dict) or "uid" not in request:
        raise MalformedReview("expected an AdmissionReview with a request that has a uid")
    return request


def mutate_inference_service(request: JsonObject, settings: WebhookSettings) -> Answer:
    """Default an InferenceService."""
    del settings
    service = request["object"]
    return Answer(patch=tuple(json_patch(service, default_inference_service(service))))


def validate_inference_service(request: JsonObject, settings: WebhookSettings) -> Answer:
    """Check an InferenceService, with what was stored before when it is an update."""
    del settings
    verdict = check_inference_service(request["object"], request.get("oldObject"))
    return Answer(problems=verdict.problems, warnings=verdict.warnings)


def mutate_pod(request: JsonObject, settings: WebhookSettings) -> Answer:
    """Inject into a pod."""
    pod = request["object"]
    try:
        return Answer(patch=tuple(json_patch(pod, inject(pod, settings))))
    except AnnotationError as error:
        return Answer(problems=error.problems)


def respond(uid: str, answer: Answer) -> JsonObject:
    """Return the AdmissionReview that carries an answer."""
    response: JsonObject = {"uid": uid, "allowed": not answer.problems}
    if answer.problems:
        message = refusal(answer.problems)
        response["status"] = {"code": 422, "reason": "Invalid", "message": message}
    elif answer.patch:
        response["patchType"] = "JSONPatch"
        response["patch"] = base64.b64encode(json.dumps(answer.patch).encode()).decode()
    if answer.warnings:
        response["warnings"] = list(answer.warnings)
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}


def refusal(problems: Sequence[str]) -> str:
    """Return all problems as one message, one line each."""
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    return "\n".join([f"{count}:", *(f"  - {problem}" for problem in problems)])
