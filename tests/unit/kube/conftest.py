import asyncio
import json

import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer

from kserve_has.kube import KubeClient


class Api:
    """A little API server: lists what it is given, sends the watch events it is told."""

    def __init__(self):
        self.pages = [[]]
        self.version = 1
        self.requests = []
        self.answers = []
        self.events = asyncio.Queue()
        self.lists = 0
        self.watches = []

    async def handle(self, request):
        body = await request.read()
        self.requests.append((request, json.loads(body) if body else None))
        if self.answers:
            status, answer = self.answers.pop(0)
            text = answer if isinstance(answer, str) else json.dumps(answer)
            return web.Response(status=status, text=text)
        if request.query.get("watch"):
            return await self.watch(request)
        self.lists += 1
        page = int(request.query.get("continue", "0"))
        more = str(page + 1) if page + 1 < len(self.pages) else ""
        metadata = {"resourceVersion": str(self.version), "continue": more}
        return web.json_response({"metadata": metadata, "items": self.pages[page]})

    async def watch(self, request):
        self.watches.append(request.query["resourceVersion"])
        answer = web.StreamResponse()
        await answer.prepare(request)
        while (event := await self.events.get()) is not None:
            data = json.dumps(event).encode() + b"\n"
            # In two pieces: lines need not arrive whole.
            await answer.write(data[:7])
            await asyncio.sleep(0)
            await answer.write(data[7:])
        return answer


@pytest.fixture
async def api():
    held = Api()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", held.handle)
    async with TestServer(app) as server:
        held.url = str(server.make_url("")).rstrip("/")
        yield held
        held.events.put_nowait(None)


@pytest.fixture
def kubeconfig(api, tmp_path):
    path = tmp_path / "config.yaml"

    def write(token="secret"):
        cluster = {"name": "c", "cluster": {"server": api.url}}
        user = {"name": "u", "user": {"token": token}}
        context = {"name": "x", "context": {"cluster": "c", "user": "u"}}
        content = {"clusters": [cluster], "users": [user], "contexts": [context]}
        path.write_text(yaml.safe_dump({**content, "current-context": "x"}))
        return path

    write()
    write.path = path
    return write


@pytest.fixture
async def client(kubeconfig):
    async with KubeClient(kubeconfig.path, user_agent="tests") as held:
        yield held


def item(name, version, uid="", namespace="n"):
    metadata = {"namespace": namespace, "name": name, "uid": uid or name}
    return {"metadata": {**metadata, "resourceVersion": str(version)}}
