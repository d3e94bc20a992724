from types import SimpleNamespace

import pytest

from kserve_has import contract
from kserve_has.cli import cluster, status
from kserve_has.kube import ApiError
from kserve_has.kube.resources import INFERENCE_SERVICES, NODES


class Answering:
    def __init__(self, status, isvcs=()):
        self.status = status
        self.isvcs = list(isvcs)

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        pass

    async def list(self, resource, namespace=None):
        if resource is NODES and self.status != 200:
            raise ApiError(self.status, "No", "because", "list nodes")
        if resource is INFERENCE_SERVICES:
            return self.isvcs, ""
        gpus = {"kserve-has/gpus": '[{"uuid":"GPU-1","sm_count":108}]'}
        return ([{"metadata": {"name": "n", "annotations": gpus}}] if resource is NODES else []), ""


@pytest.mark.parametrize(("status", "sm_counts"), [(200, {"GPU-1": 108}), (403, {})])
async def test_who_may_not_list_nodes_sees_the_rest(monkeypatch, status, sm_counts):
    monkeypatch.setattr(cluster, "KubeClient", lambda _: Answering(status))
    assert (await cluster.read(None, "team")).sm_counts == sm_counts


async def test_another_refusal_is_an_error(monkeypatch):
    monkeypatch.setattr(cluster, "KubeClient", lambda _: Answering(500))
    with pytest.raises(ApiError):
        await cluster.read(None, None)


def isvc(name, objective):
    notes = {contract.OBJECTIVE_LATENCY: objective}
    return {"metadata": {"namespace": "team", "name": name, "annotations": notes}}


@pytest.mark.parametrize(("objectives", "code"), [({"a": "80ms"}, 0), ({"a": "80ms", "b": "x"}, 1)])
def test_an_objective_that_cannot_be_read_is_a_row_beside_the_others(
    monkeypatch, capsys, objectives, code
):
    monkeypatch.setenv("COLUMNS", "160")
    isvcs = [isvc(name, objective) for name, objective in objectives.items()]
    monkeypatch.setattr(cluster, "KubeClient", lambda _: Answering(200, isvcs))
    args = SimpleNamespace(kubeconfig="k", namespace=None, decisions=0)
    assert status._run(args) == code
    shown = capsys.readouterr().out
    assert "p95 <= 80 ms" in shown
    assert ("cannot be read: 'x' is not a duration" in shown) == bool(code)
