"""Whole worlds: a pool of GPUs, services on it that fit, and what arrives at them."""

from hypothesis import strategies as st

from kserve_has.allocation import Allocation, fits
from kserve_has.gpu import H200
from kserve_has.slo import Slo

from ...unit.policy.worlds import SMALL, gpus, replica, service, traffic, world

MODELS = ("resnet50", "bert_base_384", "mobilenet_v3_large")
rates = st.floats(0.0, 2000.0).map(lambda x: round(x, 1))


@st.composite
def arrivals(draw):
    """Steady, stepped or rising traffic; sometimes old, queued or late."""
    base, then = draw(rates), draw(rates)
    at = draw(st.integers(0, 50))
    return traffic(
        (base,) * at + (then,) * (50 - at),
        age_s=draw(st.sampled_from((0.2, 1.0, 60.0))),
        in_flight=draw(st.sampled_from((0.0, 3.0, 500.0))),
        late=draw(st.sampled_from((0.0, 0.02, 0.9))),
    )


@st.composite
def allocations(draw, pool, memory):
    gpu = draw(st.sampled_from(pool))
    groups = draw(st.integers(1, gpu.geometry.all_groups))
    quota = draw(st.integers(1, 10)) * 10
    return Allocation(gpu.uuid, groups, gpu.geometry.sm_of(groups), quota, memory)


@st.composite
def worlds(draw, traffics=None, max_services=4):
    """A sound world: what is held fits."""
    traffics = arrivals() if traffics is None else traffics
    geometry = draw(st.sampled_from((SMALL, H200)))
    pool = gpus(draw(st.integers(1, 3)), geometry)
    by_gpu = {gpu.uuid: [] for gpu in pool}
    services = []
    for number in range(draw(st.integers(1, max_services))):
        memory = draw(st.sampled_from((1, 3))) * 10**9
        replicas = []
        for index in range(draw(st.integers(0, 3))):
            held = draw(st.none() | allocations(pool, memory))
            if held is not None:
                gpu = next(g for g in pool if g.uuid == held.gpu_uuid)
                if not fits([*by_gpu[held.gpu_uuid], held], gpu.geometry):
                    held = None
                else:
                    by_gpu[held.gpu_uuid].append(held)
            replicas.append(replica(f"r{index}", held))
        low = draw(st.integers(0, 2))
        services.append(
            service(
                f"ns/s{number}",
                replicas,
                draw(traffics),
                served_model=draw(st.sampled_from(MODELS)),
                slo=Slo(draw(st.sampled_from((5.0, 20.0, 100.0))), 95),
                memory_bytes=memory,
                min_replicas=low,
                max_replicas=max(1, low, draw(st.integers(1, 5))),
                priority=draw(st.sampled_from((1, 100))),
            )
        )
    return world(services, pool)
