import torch

from benchmarks.gpu.quota_repeat import Wrong


def test_outputs_are_compared_bit_by_bit_and_counted_once_each():
    reference = torch.tensor([1.0, float("nan"), 0.0], dtype=torch.half)
    wrong = Wrong(reference)
    wrong.look(reference.clone())
    assert wrong.count() == 0
    wrong.look(torch.tensor([1.0, float("nan"), -0.0], dtype=torch.half))
    wrong.look(torch.tensor([2.0, float("nan"), -0.0], dtype=torch.half))
    assert wrong.count() == 2


def test_a_view_that_is_not_contiguous_is_compared_too():
    whole = torch.arange(6, dtype=torch.float32).reshape(2, 3)
    wrong = Wrong(whole[:, :1])
    wrong.look(whole[:, 1:2])
    wrong.look(whole[:, :1])
    assert wrong.count() == 1
