"""Which ways of rebuilding a captured graph for another SM partition the driver takes.

``python3 benchmarks/gpu/quota_graph_probe.py --out DIR`` on a machine with a GPU, a C compiler and
CUDA's headers, without MPS. Each subject is a process of its own; each step reports its own error,
so that none hides another. ``--subjects where`` needs no PyTorch.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from ctypes import byref, c_double, c_int, c_void_p
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SMS = 32
ROUNDS = 20
WAYS = (
    "clone, kern + ctx",
    "clone, function of the kernel in the partition",
    "clone, kern + ctx, cuGraphNodeSetParams",
    "clone, instantiated with the partition current",
    "added, kern + ctx",
    "added, kern + ctx, cuGraphAddNode",
    "added with the partition current, func",
    "added, function of the kernel in the partition",
    "captured again on the partition's stream",
    "clone, func handle as kern + ctx",
    "added, func handle as kern + ctx",
)
CLONE_ONLY = 3
KERNELS = (
    "module function",
    "library kernel",
    "library function",
    "module function, 100 KiB shared",
    "library kernel, 100 KiB shared",
    "library function, 100 KiB shared",
)
FACTS = "func_only kern_only both ctx_null ctx_primary ctx_partition ctx_other extra large_shared"
NETWORKS = {"resnet50": "resnet50", "bert": "bert_base_128", "decoder": "llama_1b_decode_512"}
SUBJECTS = ("where", "resnet50", "bert", "decoder", "triton", "compiled")
Step = Callable[[], Any]
Say = Callable[[str, Any], None]


class Driver:
    """The C half."""

    def __init__(self, library: Path) -> None:
        ctypes.CDLL("libcuda.so.1", mode=ctypes.RTLD_GLOBAL)
        self._c = ctypes.CDLL(str(library))
        self._said = (ctypes.c_char * 512).in_dll(self._c, "probe_said")
        self.green = c_void_p()

    def __call__(self, name: str, *arguments: Any) -> None:
        """Call ``probe_NAME``.

        Raises:
            RuntimeError: it failed; with the driver's call and its result.
        """
        self._said.value = b""
        result = getattr(self._c, f"probe_{name}")(*arguments)
        if result:
            raise RuntimeError(f"{self._said.value.decode() or result}")

    def nodes(self, graph: c_void_p) -> dict[str, Any]:
        """Count a graph's nodes by kind and its kernels by what they name."""
        types, facts = (c_int * 16)(), (c_int * 16)()
        self("nodes", graph, types, facts)
        names = [*FACTS.split(), "edges_with_data", "most_dependencies"]
        kinds = {str(kind): count for kind, count in enumerate(types) if count}
        return {"types": kinds, **dict(zip(names, facts, strict=False))}

    def rebuild(self, way: int, graph: c_void_p) -> tuple[c_void_p, list[float]]:
        """Rebuild in one way; with ms of the clone alone and of everything."""
        made, took = c_void_p(), (c_double * 2)()
        self("rebuild", way, graph, byref(made), took)
        return made, [round(ms, 3) for ms in took]

    def others(self) -> str:
        """Say which nodes that are no kernels kept their context in the last rebuild, and why."""
        refused = c_int.in_dll(self._c, "probe_others_refused").value
        said = (ctypes.c_char * 512).in_dll(self._c, "probe_other_said").value.decode()
        return f"{refused} refused: {said}" if refused else "placed"

    def instantiate(self, graph: c_void_p, current: bool = False) -> tuple[c_void_p, float]:
        """Make it executable; with ms."""
        made, took = c_void_p(), c_double()
        self("instantiate", graph, int(current), byref(made), byref(took))
        return made, round(took.value, 3)

    def figure(self, name: str, *arguments: Any, kind: Any = c_double) -> float:
        """Call something that gives one number."""
        value = kind()
        self(name, *arguments, byref(value))
        return round(value.value, 4)


def attempt(facts: dict[str, Any], name: str, step: Step) -> Any:
    """Note what a step gives, or its error, and go on."""
    try:
        facts[name] = step()
    except Exception as error:  # noqa: BLE001 - every step reports for itself
        facts[name] = f"{type(error).__name__}: {error}"
        return None
    return facts[name]


def try_way(
    driver: Driver, way: int, graph: c_void_p, main: c_void_p, check: Callable[[Any], Any]
) -> dict[str, Any]:
    """Rebuild, instantiate and run a graph in one way."""
    facts: dict[str, Any] = {}
    made, facts["clone_ms, all_ms"] = driver.rebuild(way, graph)
    facts["other_nodes"] = driver.others()
    attempt(facts, "nodes", lambda: driver.nodes(made))
    executable, facts["instantiate_ms"] = driver.instantiate(made, way == CLONE_ONLY)
    attempt(facts, "first_launch_call_ms", lambda: driver.figure("launch", executable, main))
    attempt(facts, "result", lambda: check(executable))
    for name, stream in (("main_ms", main), ("partition_ms", driver.green)):
        attempt(facts, name, lambda s=stream: driver.figure("time", executable, s, ROUNDS))
    attempt(facts, "update_refused_for", lambda: update(driver, graph, made))
    return facts


def update(driver: Driver, graph: c_void_p, other: c_void_p) -> int:
    """Offer a rebuilt graph to an executable of the original; 0 where it takes it."""
    executable, _ = driver.instantiate(graph)
    why = c_int()
    attempt({}, "", lambda: driver("exec_update", executable, other, byref(why)))
    return why.value


def resident_mib() -> float:
    """Return this process's resident memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / (1 << 20)


def where(driver: Driver, say: Say) -> None:
    """Take a kernel that says which SMs it ran on, through every way."""
    for how, name in enumerate(KERNELS):
        _every(driver, say, name, lambda g, h=how: driver("where_graph", h, byref(g)))
    inner = c_void_p()
    attempt({}, "capture", lambda: driver("where_graph", 0, byref(inner)))
    for which, name in enumerate(("child", "allocation", "conditional")):
        _every(driver, say, name, lambda g, w=which: driver("special_graph", w, inner, byref(g)))


def _every(driver: Driver, say: Say, name: str, make: Callable[[c_void_p], None]) -> None:
    graph = c_void_p()
    facts: dict[str, Any] = {}
    attempt(facts, "make", lambda: make(graph))
    say(name, facts)
    if graph:
        of_all(
            driver,
            graph,
            c_void_p(),
            lambda key, found: say(f"{name}: {key}", found),
            lambda executable: driver.figure("where", executable, None, kind=c_int),
        )


def of_all(
    driver: Driver, graph: c_void_p, main: c_void_p, say: Say, check: Callable[[Any], Any]
) -> None:
    """Run the original, then every way."""
    facts: dict[str, Any] = {}
    attempt(facts, "nodes", lambda: driver.nodes(graph))
    original = attempt(facts, "instantiate", lambda: driver.instantiate(graph)[0])
    if isinstance(original, c_void_p):
        facts["instantiate"] = "done"
        attempt(facts, "result", lambda: check(original))
        for name, stream in (("main_ms", main), ("partition_ms", driver.green)):
            attempt(facts, name, lambda s=stream: driver.figure("time", original, s, ROUNDS))
        attempt(facts, "takes context", lambda: driver("exec_set", original, graph) or "yes")
    say("original", facts)
    for way, name in enumerate(WAYS):
        found: dict[str, Any] = {}
        attempt(found, name, lambda w=way: try_way(driver, w, graph, main, check))
        say(name, found[name])


def costs(driver: Driver, graph: c_void_p, main: c_void_p, way: int) -> dict[str, Any]:
    """Say what several rebuilt executables cost in memory, and what making them stalls."""
    import torch

    facts: dict[str, Any] = {}
    small = torch.zeros(8, device="cuda")
    stop = threading.Event()
    stalls: list[float] = []

    def neighbour() -> None:
        while not stop.is_set():
            began = time.perf_counter()
            small.add_(1)
            stalls.append(1e3 * (time.perf_counter() - began))
            time.sleep(0.0002)

    def measured(name: str, step: Step) -> list[c_void_p]:
        free, host = torch.cuda.mem_get_info()[0], resident_mib()
        stalls.clear()
        made = [step() for _ in range(4)]
        ordered = sorted(stalls) or [0.0]
        facts[name] = {
            "device_mib_each": (free - torch.cuda.mem_get_info()[0]) / 4 / (1 << 20),
            "host_mib_each": (resident_mib() - host) / 4,
            "neighbour_p99_ms": ordered[int(len(ordered) * 0.99)],
            "neighbour_max_ms": ordered[-1],
        }
        return made

    thread = threading.Thread(target=neighbour)
    thread.start()
    try:
        measured("nothing", lambda: time.sleep(0.05))
        graphs = measured("rebuild", lambda: driver.rebuild(way, graph)[0])
        left = iter(graphs)
        execs = measured("instantiate", lambda: driver.instantiate(next(left))[0])
        left = iter(execs)
        measured(
            "upload",
            lambda: facts.setdefault(
                "upload_ms", driver.figure("upload", next(left), driver.green)
            ),
        )
        took = (c_double * 3)()
        driver("destroy_in_flight", execs[0], main, took)
        facts["destroy_in_flight_ms"] = [took[1] - took[0], took[2] - took[1]]
    finally:
        stop.set()
        thread.join()
    return facts


def network_step(subject: str) -> Step:
    """Return one inference of a network on the GPU."""
    import torch

    sys.path.insert(0, str(HERE.parents[1]))
    from kserve_has.profiler.networks import network

    found = network(NETWORKS[subject])
    with torch.device("cuda"):
        module = found.build().half().eval()
    inputs = found.inputs(32, "cuda", torch.half)
    return lambda: module(inputs)


def triton_step() -> Step:
    """Return a chain of Triton kernels."""
    import torch

    sys.path.insert(0, str(HERE))
    from quota_triton import add_one

    source = torch.randn(1 << 26, device="cuda")
    data = torch.empty_like(source)
    return lambda: add_one(add_one(data.copy_(source)))


def graphs_of(subject: str) -> tuple[list[Any], Any]:
    """Return captured graphs of a subject and the tensor they write."""
    import torch

    made: list[Any] = []
    plain = torch.cuda.CUDAGraph

    class Kept(plain):  # type: ignore[misc,valid-type]
        def __init__(self) -> None:
            super().__init__(True)
            made.append(self)

    if subject == "compiled":
        torch.cuda.CUDAGraph = Kept
        layers = (torch.nn.Linear(4096, 4096), torch.nn.GELU(), torch.nn.LayerNorm(4096))
        module = torch.nn.Sequential(*layers, torch.nn.Linear(4096, 4096)).cuda().half()
        step = torch.compile(module, mode="reduce-overhead")
        x = torch.randn(4096, 4096, device="cuda", dtype=torch.half)
        for _ in range(4):
            output = step(x)
        return made, output
    step = triton_step() if subject == "triton" else network_step(subject)
    for _ in range(3):
        step()
    torch.cuda.synchronize()
    graph = plain(keep_graph=True)
    with torch.cuda.graph(graph):
        output = step()
    return [graph], output


def captured(driver: Driver, subject: str, say: Say) -> None:
    """Take what PyTorch captures through every way."""
    import torch

    torch.set_grad_enabled(False)
    torch.manual_seed(7)
    torch.zeros(1, device="cuda")
    partition(driver, say)
    graphs, output = graphs_of(subject)
    while not isinstance(output, torch.Tensor):
        output = next(iter(output.values())) if isinstance(output, dict) else output[0]
    say("graphs", len(graphs))
    graphs[-1].instantiate()
    graphs[-1].replay()
    torch.cuda.synchronize()
    reference = output.clone()
    graph = c_void_p(graphs[-1].raw_cuda_graph())
    main = c_void_p(torch.cuda.current_stream().cuda_stream)

    def check(executable: c_void_p) -> str:
        output.zero_()
        driver.figure("launch", executable, main)
        torch.cuda.synchronize()
        return "equal bits" if torch.equal(output, reference) else "other bits"

    of_all(driver, graph, main, say, check)
    for way in (0, 8):
        found: dict[str, Any] = {}
        attempt(found, WAYS[way], lambda w=way: costs(driver, graph, main, w))
        say("costs", found)


def partition(driver: Driver, say: Say) -> None:
    """Make the partition's context and stream."""
    took = (c_double * 3)()
    driver("partition", SMS, byref(driver.green), took)
    say("partition_ms", {"context": took[1] - took[0], "stream": took[2] - took[1]})


def subject_main(subject: str, library: Path) -> None:
    """Run one subject; a line of JSON for each thing found."""

    def say(name: str, found: Any) -> None:
        print(json.dumps({"subject": subject, "name": name, "found": found}, default=str))
        sys.stdout.flush()

    driver = Driver(library)
    if subject == "where":
        driver("primary")
        partition(driver, say)
        where(driver, say)
    else:
        captured(driver, subject, say)


def build(folder: Path) -> Path:
    """Compile the C half against CUDA's headers."""
    library = folder / "libquota_graph_probe.so"
    homes = [Path("/usr/local/cuda/include"), *Path("/usr/local").glob("cuda*/include")]
    homes += [*Path(sys.prefix).glob("lib/python3*/site-packages/nvidia/*/include")]
    homes += [*Path("/usr/local/lib").glob("python3*/dist-packages/nvidia/*/include")]
    headers = [f"-I{home}" for home in homes if (home / "cuda.h").exists()]
    sources = [str(HERE / name) for name in ("quota_graph_probe.c", "quota_graph_ways.c")]
    command = ["gcc", "-O1", "-shared", "-fPIC", *headers, "-o", str(library), *sources]
    subprocess.run(command, check=True)
    return library


def main() -> None:
    """Build, run every subject, write what was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--subjects", default=",".join(SUBJECTS))
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        return subject_main(arguments.one, arguments.out)
    arguments.out.mkdir(parents=True, exist_ok=True)
    library = build(arguments.out)
    with (arguments.out / "graph-probe.jsonl").open("w") as lines:
        for subject in arguments.subjects.split(","):
            began = time.monotonic()
            command = [sys.executable, __file__, "--one", subject, "--out", str(library)]
            ended: int | str
            try:
                ended = subprocess.run(command, check=False, stdout=lines, timeout=90).returncode
            except subprocess.TimeoutExpired:
                ended = "timeout"
            lines.write(json.dumps({"subject": subject, "name": "ended", "found": ended}) + "\n")
            lines.flush()
            print(subject, ended, f"{time.monotonic() - began:.1f} s", flush=True)
    print((arguments.out / "graph-probe.jsonl").read_text()[:9000])
    return None


if __name__ == "__main__":
    main()
