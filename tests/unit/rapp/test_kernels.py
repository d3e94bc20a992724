import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="tracing a network needs torch")
from torch import nn
from torch.nn import functional

from kserve_has.rapp.kernels import CALLS, CLASSES, kernels_of


def run(function, *shape, device="meta", module=None):
    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.part = module

        def forward(self, x):
            return function(self, x)

    with torch.device(device):
        return kernels_of(Network().to(device), torch.rand(1, *shape))


def kinds(kernels):
    found = {}
    for kind, count in zip(kernels.kind.astype(int), kernels.count, strict=True):
        found[CLASSES[kind]] = found.get(CLASSES[kind], 0) + int(count)
    return found


def calls(kernels):
    return dict(zip(CALLS, kernels.calls.astype(int).tolist(), strict=True))


def row(kernels, kind):
    (at,) = np.flatnonzero(kernels.kind == CLASSES.index(kind))
    return {name: float(v[at]) for name, v in vars(kernels).items() if name != "calls"}


@pytest.mark.parametrize(
    ("kind", "convolution"),
    [
        ("stem", nn.Conv2d(3, 8, 3, padding=1)),
        ("pointwise", nn.Conv2d(16, 8, 1)),
        ("convolution", nn.Conv2d(16, 8, 3, padding=1)),
        ("grouped", nn.Conv2d(16, 8, 3, padding=1, groups=2)),
        ("depthwise", nn.Conv2d(16, 16, 3, padding=1, groups=16)),
    ],
)
def test_convolutions_are_told_apart(kind, convolution):
    channels, area = convolution.in_channels, 36
    kernels = run(lambda n, x: n.part(x), channels, 6, 6, module=convolution)
    assert {kind: 1} == kinds(kernels)
    found = row(kernels, kind)
    taps = convolution.kernel_size[0] ** 2
    depth = taps * channels / convolution.groups
    out = convolution.out_channels
    assert (area, depth, convolution.groups) == (found["rows"], found["depth"], found["groups"])
    assert 2 * out * area * depth == found["flops"]
    assert area * (channels + out) == found["elements"]
    assert out * depth + out == found["weights"]


def test_equal_kernels_stand_in_one_row():
    kernels = run(lambda n, x: x.relu().relu().relu(), 8)
    assert [3.0] == list(kernels.count)
    assert {"arithmetic": 0, "other": 3, "view": 0} == calls(kernels)


def test_a_reshape_that_cannot_be_a_view_is_a_copy():
    assert {"elementwise": 1} == kinds(run(lambda n, x: x.reshape(1, 32).relu(), 4, 8))
    turned = run(lambda n, x: x.transpose(1, 2).reshape(1, 32).relu(), 4, 8)
    assert {"transposed": 1, "elementwise": 1} == kinds(turned)
    assert 64 == row(turned, "transposed")["elements"]
    assert {"arithmetic": 0, "other": 2, "view": 1} == calls(turned)


def test_what_is_read_in_another_order_is_slow():
    kernels = run(lambda n, x: x.transpose(1, 2) + 1.0, 4, 8)
    assert {"transposed": 1} == kinds(kernels)
    norm = run(lambda n, x: functional.layer_norm(x.permute(0, 2, 1), (4,)), 4, 8)
    assert {"transposed": 1, "rowwise": 1} == kinds(norm)


def test_after_channels_last_nothing_is_in_another_order():
    def forward(network, x):
        x = x.permute(0, 2, 1, 3).contiguous().permute(0, 3, 1, 2)
        return functional.layer_norm(network.part(x).permute(0, 2, 3, 1), (16,))

    kernels = run(forward, 6, 6, 16, module=nn.Conv2d(16, 16, 3, padding=1, groups=16))
    assert {"transposed": 1, "depthwise": 1, "rowwise": 1} == kinds(kernels)


def test_what_depends_on_weights_alone_is_computed_anew_but_not_for_every_instance():
    def forward(network, x):
        mask = x.new_zeros(8, 4) + 1.0
        return x + network.part.weight.exp() + mask

    kernels = run(forward, 8, 4, module=nn.Linear(4, 8))
    assert {"elementwise": 5} == kinds(kernels)  # the zeros are filled in by one of them
    assert 3 == kernels.count[kernels.batched == 0].sum()


def test_matrices_whose_batches_do_not_merge_are_copied_first():
    def forward(network, x):
        heads = x.reshape(6, 5, 4, 2).permute(0, 2, 1, 3)
        return heads @ heads.transpose(-2, -1)

    kernels = run(forward, 6, 5, 8)
    assert {"transposed": 2, "matmul": 1} == kinds(kernels)
    product = row(kernels, "matmul")
    assert (5, 5, 2, 24) == tuple(product[k] for k in ("rows", "columns", "depth", "groups"))


def test_attention_has_its_own_shape():
    kernels = run(lambda n, x: functional.scaled_dot_product_attention(x, x, x), 3, 10, 8)
    found = row(kernels, "attention")
    assert 4 * 3 * 10 * 10 * 8 == found["flops"]
    assert (10, 8, 10, 3) == tuple(found[k] for k in ("rows", "columns", "depth", "groups"))


def test_an_encoder_layer_runs_natively():
    layer = nn.TransformerEncoderLayer(16, 2, 32, activation="gelu", batch_first=True)
    found = kinds(run(lambda n, x: n.part(x), 5, 16, module=layer))
    assert {"linear": 4, "attention": 1, "elementwise": 2, "rowwise": 2} == found


def test_rolling_takes_a_kernel_a_dimension():
    assert {"rowwise": 2} == kinds(run(lambda n, x: torch.roll(x, (1, 1), (1, 2)), 6, 6, 4))


def test_shapes_do_not_depend_on_the_device():
    part = nn.Conv2d(3, 8, 3)
    one, other = (
        run(lambda n, x: n.part(x).relu(), 3, 8, 8, module=part, device=device)
        for device in ("cpu", "meta")
    )
    for name, column in vars(one).items():
        np.testing.assert_array_equal(column, getattr(other, name))


def test_taking_a_tensor_out_of_several_is_no_call():
    found = run(lambda n, x: torch.cat(x.chunk(2, dim=1), dim=1), 8, 4, 4)
    assert calls(found)["view"] == 1  # the chunk
    assert calls(found)["other"] == 1
