"""What a network is given so that one thread computes it well changes nothing of what it says."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dgaug.synthesis.threads import fit_for_one_thread


def test_a_network_fitted_for_one_thread_says_the_same() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3, dilation=2), nn.Conv2d(8, 4, 1, stride=2))
    images = torch.rand(2, 3, 16, 8, generator=torch.Generator().manual_seed(0))
    before = network(images)
    fit_for_one_thread(network)
    assert torch.allclose(network(images), before, atol=1e-6)


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch without oneDNN")
def test_its_convolutions_of_one_tap_go_to_one_dnn_on_one_thread() -> None:
    network = nn.Conv2d(8, 8, 1)
    images = torch.rand(2, 8, 16, 8)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.autograd.profiler.profile() as before:
            network(images)
        fit_for_one_thread(network)
        with torch.autograd.profiler.profile() as after:
            network(images)
    finally:
        torch.set_num_threads(threads)
    asked, given = ({event.key for event in profile.key_averages()} for profile in (before, after))
    assert "aten::mkldnn_convolution" not in asked, "torch has changed: fit_for_one_thread is of no use any more"
    assert "aten::mkldnn_convolution" in given
