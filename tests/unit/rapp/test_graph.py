import pytest

torch = pytest.importorskip("torch", reason="tracing a network needs torch")
from torch import nn

from kserve_has.rapp.graph import operators_of
from kserve_has.rapp.node_features import KINDS, WIDTH, edges, graph_features, node_features


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.left = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.right = nn.Conv2d(8, 8, 1)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        x = self.stem(x).relu()
        x = self.left(x) + self.right(x)
        return self.head(x.mean(dim=(2, 3)).reshape(-1, 8))


def traced(batch=2, device="cpu"):
    with torch.device(device):
        return operators_of(Branching(), torch.rand(batch, 3, 10, 10))


def test_branches_are_real():
    operators = traced()
    kinds = [o.kind for o in operators]
    assert ["conv", "elementwise", "depthwise", "conv", "elementwise"] == kinds[:5]
    assert [(), (0,), (1,), (1,), (2, 3)] == [o.inputs for o in operators[:5]]


def test_views_are_contracted():
    operators = traced()
    assert "linear" == operators[-1].kind
    assert (len(operators) - 2,) == operators[-1].inputs


def test_shapes_are_those_of_activations_and_work_is_counted():
    stem, relu, depthwise, *_ = traced()
    assert (2, 8, 10, 10) == stem.output_shape
    assert (8, 3, 3, 3) == stem.weight_shape
    assert 2 * 2 * 8 * 100 * 27 == stem.flops
    assert 2 * 2 * 8 * 100 * 9 == depthwise.flops
    assert 2 * 8 * 100 == relu.flops
    assert 4 * 2 * 8 * 100 == relu.read_bytes == relu.written_bytes
    assert (1, 1) == stem.attributes["padding"]


def test_nothing_has_to_be_allocated():
    assert traced() == traced(device="meta")


def test_attention_is_one_operator():
    class Attention(nn.Module):
        def forward(self, x):
            heads = x.reshape(1, 12, 4, 8).transpose(1, 2)
            return nn.functional.scaled_dot_product_attention(heads, heads, heads)

    operators = operators_of(Attention(), torch.rand(1, 12, 32))
    (attention,) = [o for o in operators if o.kind == "attention"]
    assert pytest.approx(4 * 12 * 12 * 32) == attention.flops


def test_an_input_that_is_only_viewed_at_first_is_followed():
    class Turned(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(3, 5)
            self.bias = nn.Parameter(torch.zeros(2, 5))

        def forward(self, x):
            return self.head(x.transpose(0, 1)) + self.bias.exp()

    kinds = [o.kind for o in operators_of(Turned(), torch.rand(3, 2))]
    assert ["linear", "elementwise"] == kinds


def test_published_features_come_from_any_network():
    operators = traced()
    features = node_features(operators)
    assert (len(operators), WIDTH) == features.shape == (len(operators), 38)
    stem, relu, depthwise = features[:3]
    assert [3, 3, 8, 1, 1, 1, 1, 1, 1, 1, 1, 1] == list(stem[16:28])
    assert [8, 3, 3, 3] == list(stem[28:32])
    assert 8 == depthwise[27]
    assert KINDS[int(stem[:16].argmax())] == "conv2d"
    assert KINDS[int(relu[:16].argmax())] == "relu"
    assert [2, 8, 10, 10] == list(relu[28:32])


def test_edges_branch_and_join():
    pairs = set(map(tuple, edges(traced()).T.tolist()))
    assert {(1, 2), (1, 3), (2, 4), (3, 4)} <= pairs


def test_graph_features_count_and_carry_the_profile():
    found = graph_features(traced(batch=1), [5.0, 4, 3, 2, 1])
    assert 10 == len(found)
    assert [1.0, 3, 1, 1] == [found[0], *found[2:5]]
    assert [5, 4, 3, 2, 1] == list(found[5:])
