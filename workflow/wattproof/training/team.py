"""The processes that train one run together: what they exchange. Imports torch.

Each has a share of every batch; gradients are averaged by PyTorch's `DistributedDataParallel`,
batch norm sees all shares (`batch_norm`), and what decides how the run goes on (losses, the time
limit) is summed over all, so that all decide alike.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from datetime import timedelta

import torch
from torch import Tensor, nn
from torch import distributed as dist

from wattproof.training.batch_norm import make_global

START_TIMEOUT_S = 300.0
"""All processes have begun by then, imports and data sets included."""

PATIENCE_S = 60.0
"""A process that the others wait for longer is taken for hung."""

BACKENDS = {"cpu": "gloo", "cuda": "cpu:gloo,cuda:nccl"}
"""What is exchanged on the host goes by gloo on GPUs, too: waiting there keeps no GPU busy."""


class Team:
    """One process among those of a run; alone as long as `join` was not called.

    Attributes:
        rank: Number of this process; 0 writes marks and the result.
        world: Number of processes.
    """

    def __init__(self, rank: int = 0, world: int = 1) -> None:
        self.rank = rank
        self.world = world

    def join(self, store: dist.Store, device: torch.device, waits_s: float = 0.0) -> None:
        """Meet the others; blocks until all are there.

        Args:
            store: Where all of them meet.
            device: That this process trains on.
            waits_s: How long one of them may be waited for on purpose, in seconds.

        Raises:
            RuntimeError: Not all came in time.
        """
        if self.world == 1:
            return
        # All on one node: gloo would look up the host's name, which need not resolve.
        if os.path.exists("/sys/class/net/lo"):
            os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        store.set(f"here/{self.rank}", "yes")
        everybody = [f"here/{rank}" for rank in range(self.world)]
        store.wait(everybody, timedelta(seconds=START_TIMEOUT_S))
        dist.init_process_group(
            BACKENDS[device.type],
            store=store,
            rank=self.rank,
            world_size=self.world,
            timeout=timedelta(seconds=PATIENCE_S + waits_s),
        )

    def leave(self) -> None:
        """Give up the connection; safe to call twice, and after errors."""
        if dist.is_initialized():
            dist.destroy_process_group()

    def total(self, values: Sequence[float]) -> list[float]:
        """Sum numbers over all processes; every process gets the same sums."""
        if self.world == 1:
            return list(values)
        sums = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(sums)
        return [float(value) for value in sums]

    def prepare(self, model: nn.Module) -> nn.Module:
        """Let a network's batch norm see all shares; return it."""
        return make_global(model) if self.world > 1 else model

    def wrap(self, model: nn.Module) -> Callable[[Tensor], Tensor]:
        """Return what training steps call instead of the network: it averages gradients."""
        if self.world == 1:
            return model
        # Statistics of batch norm are equal everywhere already. (Newer versions want another word
        # for it that older ones do not know.)
        with warnings.catch_warnings(action="ignore", category=FutureWarning):
            wrapped: Callable[[Tensor], Tensor] = nn.parallel.DistributedDataParallel(
                model, broadcast_buffers=False
            )
        return wrapped
