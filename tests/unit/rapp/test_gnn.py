from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="RaPP's network needs torch")

from kserve_has.errors import LatencyModelError
from kserve_has.rapp.gnn import Graphs, Rapp
from kserve_has.rapp.public_data import PublicData
from kserve_has.rapp.steps import Inputs
from kserve_has.rapp.train import Recipe, Trainer, profile_ms

TINY = Recipe(width=8, epochs=4, rate=3e-3, groups=4, raw_ms=False)


def made_up_data() -> PublicData:
    draw = np.random.default_rng(5)
    model, batch, sm, quota = (
        a.ravel() for a in np.meshgrid(range(3), (1, 4), (10, 50), (20, 100), indexing="ij")
    )
    nodes = tuple(30.0 * draw.random((5 + 3 * m, 38)) for m in range(3))
    ms = (1.0 + model) * (5.0 + 100.0 * batch / sm) * 100.0 / quota
    graphs = 10.0 * draw.random((3, 10))
    return PublicData(("a", "b", "c"), nodes, graphs, model, batch, sm, quota, ms)


def test_the_network_has_as_many_parameters_as_the_published_one():
    assert 3_052_033 == sum(p.numel() for p in Rapp().parameters())


def test_graphs_in_one_step_do_not_see_each_other():
    torch.manual_seed(0)
    network = Rapp(16).eval()
    nodes = 200.0 * torch.randn(7, 40)
    edges = torch.tensor([[0, 1, 3, 4, 4], [1, 2, 4, 5, 6]])
    both = network.embed(Graphs(nodes, edges, torch.tensor([0, 0, 0, 1, 1, 1, 1]), 2))
    first = network.embed(Graphs(nodes[:3], edges[:, :2], torch.zeros(3, dtype=torch.long), 1))
    second = network.embed(Graphs(nodes[3:], edges[:, 2:] - 3, torch.zeros(4, dtype=torch.long), 1))
    torch.testing.assert_close(both, torch.cat((first, second)))


def test_a_branch_reaches_the_network():
    torch.manual_seed(0)
    network, nodes = Rapp(16).eval(), torch.randn(3, 40)
    chain = Graphs(nodes, torch.tensor([[0, 1], [1, 2]]), torch.zeros(3, dtype=torch.long), 1)
    branch = Graphs(nodes, torch.tensor([[0, 0], [1, 2]]), torch.zeros(3, dtype=torch.long), 1)
    assert not torch.allclose(network.embed(chain), network.embed(branch))


def test_every_row_is_in_exactly_one_step():
    data = made_up_data()
    rows = np.arange(len(data.ms))
    steps = Inputs(data, rows).steps(rows, 5, np.random.default_rng(0))
    assert len(steps.node) > 1
    assert list(rows) == sorted(steps.row[steps.counts > 0].tolist())


def test_a_step_holds_the_operators_of_the_graphs_its_queries_ask_for():
    data = made_up_data()
    rows = np.arange(len(data.ms))[::-1].copy()
    inputs = Inputs(data, rows)
    steps = inputs.steps(rows, 5, np.random.default_rng(0))
    for index in range(len(steps.node)):
        step = steps.at(index)
        features = inputs.graphs(step).nodes
        for query in torch.nonzero(step.counts).ravel().tolist():
            asked, graph = rows[step.row[query]], step.which[query]
            own = step.owner == graph
            start, length = inputs.starts[data.model[asked]], inputs.lengths[data.model[asked]]
            assert list(range(start, start + length)) == step.node[own].tolist()
            assert [True] + [False] * (length - 1) == step.first[own].tolist()
            scalars = torch.tensor(inputs.graph_scalars[asked], dtype=torch.float32)
            torch.testing.assert_close(features[own][:, 38:], scalars.expand(length, 2))
            assert float(inputs.queries[asked, 11]) == pytest.approx(np.log(data.quota[asked] / 45))


def test_chains_need_no_edges():
    torch.manual_seed(0)
    network, nodes = Rapp(16).eval(), 3.0 * torch.randn(7, 40)
    owner = torch.tensor([0, 0, 0, 1, 1, 1, 1])
    edges = torch.tensor([[0, 1, 3, 4, 5], [1, 2, 4, 5, 6]])
    first = torch.tensor([True, False, False, True, False, False, False])
    with_edges = network.embed(Graphs(nodes, edges, owner, 2))
    torch.testing.assert_close(network.embed(Graphs(nodes, None, owner, 2, first)), with_edges)


def test_training_learns_and_its_predictions_do_not_depend_on_the_company(tmp_path):
    data = made_up_data()
    rows = np.arange(len(data.ms))
    trainer = Trainer(data, rows, Recipe(**{**TINY.__dict__, "epochs": 60}), tmp_path)
    log = trainer.run(rows, quiet=True)
    assert log[-1]["loss"] < 0.5 * log[0]["loss"]
    alone = np.concatenate([trainer.predict(rows[i : i + 1]) for i in rows])
    np.testing.assert_allclose(alone, trainer.predict(rows), rtol=1e-4)


def test_a_profile_is_read_between_its_quotas_and_below_the_lowest():
    data = made_up_data()
    profiles = np.tile([80.0, 40.0, 80.0 / 3, 20.0, 16.0], (3, 1))  # as much less as the quota more
    quota = np.array([10.0, 20.0, 28.0, 100.0])
    asked = replace(
        data,
        graphs=np.hstack((data.graphs[:, :5], profiles)),
        model=np.array([0, 1, 2, 0]),
        quota=quota,
    )
    np.testing.assert_allclose(profile_ms(asked), 1600.0 / quota)


def test_a_network_ten_times_as_slow_is_known_by_its_profile(tmp_path):
    data = made_up_data()
    factor = np.array([1.0, 10.0, 1.0])
    profiles = 5.0 * factor[:, None] * np.ones(5)
    graphs = np.hstack((data.graphs[:, :5], profiles))
    asked = replace(data, graphs=graphs, ms=data.ms * factor[data.model])
    recipe = Recipe(**{**TINY.__dict__, "relative": True})
    trainer = Trainer(asked, np.flatnonzero(data.model != 1), recipe, tmp_path)
    trainer._out = lambda step, queries: torch.full((len(step.row),), 3.0)
    np.testing.assert_allclose(trainer.predict(np.arange(len(asked.ms))), profile_ms(asked))


def test_a_broken_run_goes_on_where_it_was(tmp_path):
    data = made_up_data()
    rows = np.arange(len(data.ms))
    whole = Trainer(data, rows, TINY, tmp_path / "whole")
    whole.run(rows, quiet=True)

    broken = Trainer(data, rows, TINY, tmp_path / "broken")
    late = iter([False, False, True])
    broken._late = lambda: next(late)
    broken.run(rows, quiet=True)
    again = Trainer(data, rows, TINY, tmp_path / "broken")
    log = again.run(rows, quiet=True)
    assert [1, 2, 3, 4] == [entry["epoch"] for entry in log]
    np.testing.assert_array_equal(whole.predict(rows), again.predict(rows))


def test_another_recipe_does_not_go_on_from_a_checkpoint(tmp_path):
    data = made_up_data()
    rows = np.arange(len(data.ms))
    Trainer(data, rows, TINY, tmp_path).run(rows, quiet=True)
    with pytest.raises(LatencyModelError, match="use another folder or the same recipe"):
        Trainer(data, rows, Recipe(**{**TINY.__dict__, "width": 4}), tmp_path).run(rows, quiet=True)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="capturing a step needs a GPU")
def test_a_replayed_step_learns_what_a_plain_one_does(tmp_path):
    data = made_up_data()
    rows = np.arange(len(data.ms))
    plain = Trainer(data, rows, TINY, tmp_path / "plain", replay=False)
    replayed = Trainer(data, rows, TINY, tmp_path / "replayed")
    for trainer in (plain, replayed):
        trainer.run(rows, quiet=True)
    np.testing.assert_allclose(plain.predict(rows), replayed.predict(rows), rtol=1e-3)
