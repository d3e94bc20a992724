import pytest

from kserve_has.cli import cluster
from kserve_has.kube import ApiError
from kserve_has.kube.resources import NODES


class Answering:
    def __init__(self, status):
        self.status = status

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        pass

    async def list(self, resource, namespace=None):
        if resource is NODES and self.status != 200:
            raise ApiError(self.status, "No", "because", "list nodes")
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
