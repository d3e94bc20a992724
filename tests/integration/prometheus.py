"""A real Prometheus for tests."""

import asyncio
import contextlib

import aiohttp
import yaml

from .gateways import free_port


class Prometheus:
    """A Prometheus that scrapes every second what it is told to."""

    def __init__(self, folder, *scrapes):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._folder = folder
        self._scrapes = list(scrapes)
        self._process = None

    async def start(self, binary, session):
        config = self._folder / "prometheus.yaml"
        interval = {"scrape_interval": "1s", "scrape_timeout": "1s"}
        config.write_text(yaml.safe_dump({"global": interval, "scrape_configs": self._scrapes}))
        with (self._folder / "prometheus.log").open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                binary,
                f"--config.file={config}",
                f"--storage.tsdb.path={self._folder / 'tsdb'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
                stdout=log,
                stderr=log,
            )
        async with asyncio.timeout(20):
            while True:
                with contextlib.suppress(aiohttp.ClientError):
                    async with session.get(f"{self.url}/-/ready") as answer:
                        if answer.status == 200:
                            return
                await asyncio.sleep(0.1)

    async def kill(self):
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


def scrape(job, port, path="/metrics", **labels):
    """Return a scrape of one process on loopback whose series get these labels."""
    static = {"targets": [f"127.0.0.1:{port}"], "labels": labels}
    return {"job_name": job, "metrics_path": path, "static_configs": [static]}
