"""The processes of a job: this one alone, or those that torchrun started (Accelerate, torch DDP underneath)."""

from __future__ import annotations

import atexit
import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from dgaug.device import default_device
from dgaug.errors import DgaugError
from dgaug.launched import launched

if TYPE_CHECKING:
    from accelerate import Accelerator

Value = TypeVar("Value")


@dataclass(frozen=True)
class Processes:
    """One process among all that work on the same job.

    Attributes:
        device: of this process.
        rank: of this process; rank 0 writes files and logs.
        world_size: processes on all machines.
    """

    device: torch.device
    rank: int = 0
    world_size: int = 1
    accelerator: Accelerator | None = None

    @classmethod
    def here(cls) -> Processes:
        """The processes that torchrun started, or this one alone on the default device.

        Raises:
            DgaugError: a variable of the group is wrong or missing, or the others are not to be found.
        """
        group = launched()
        if group.size == 1:
            return cls(default_device())
        from accelerate import Accelerator

        device = default_device()
        if device.type != "cpu" and not os.environ.get("LOCAL_RANK"):
            raise DgaugError(
                f"WORLD_SIZE={group.size} says that this is one of {group.size} processes, and LOCAL_RANK is not set, "
                "which chooses the GPU; start them with torchrun, which sets it"
            )
        atexit.register(_leave_group)
        if device != torch.device(device.type):
            raise DgaugError(
                f"--device {device} under torchrun: each process takes the GPU of its LOCAL_RANK; use --device cuda"
            )
        try:
            accelerator = Accelerator(cpu=device.type == "cpu")
        except (torch.distributed.DistError, ValueError) as error:
            where = ", ".join(f"{name}={os.environ[name]}" for name in ("MASTER_ADDR", "MASTER_PORT"))
            raise DgaugError(
                f"the {group.size} processes of WORLD_SIZE do not meet at {where}: {str(error).splitlines()[0]}; start "
                "all of them with torchrun, or unset WORLD_SIZE to work in one process"
            ) from error
        return cls(accelerator.device, accelerator.process_index, accelerator.num_processes, accelerator)

    @property
    def is_rank_zero(self) -> bool:
        """Whether this process writes files and logs."""
        return self.rank == 0

    def wrap(self, module: nn.Module) -> nn.Module:
        """The module whose one backward pass averages gradients over all processes, every parameter getting one."""
        if self.world_size == 1:
            return module
        own = [self.device] if self.device.type == "cuda" else None
        return DistributedDataParallel(module, device_ids=own, broadcast_buffers=False)

    def averaging(self, module: nn.Module, *, now: bool) -> AbstractContextManager[Any]:
        """Forward and backward passes of a wrapped module: average gradients now, or only add them up here."""
        return nullcontext() if now or not isinstance(module, DistributedDataParallel) else module.no_sync()

    def mean(self, values: Tensor) -> Tensor:
        """Mean of a tensor over all processes."""
        if self.accelerator is None:
            return values
        mean: Tensor = self.accelerator.reduce(values, reduction="mean")
        return mean

    @torch.no_grad()
    def average_gradients(self, parameters: list[Tensor]) -> None:
        """Make gradients the mean over all processes, in place."""
        self._average_in_place([parameter.grad for parameter in parameters if parameter.grad is not None])

    @torch.no_grad()
    def average_statistics(self, network: nn.Module) -> None:
        """Make running statistics of batch norm the mean over all processes, in place."""
        self._average_in_place([buffer for buffer in network.buffers() if buffer.is_floating_point()])

    def _average_in_place(self, tensors: list[Tensor]) -> None:
        """One message for all."""
        if self.accelerator is None or not tensors:
            return
        mean, start = self.mean(torch.cat([tensor.flatten() for tensor in tensors])), 0
        for tensor in tensors:
            tensor.copy_(mean[start : start + tensor.numel()].view_as(tensor))
            start += tensor.numel()

    def max(self, number: int) -> int:
        """Maximum of a number over all processes."""
        if self.accelerator is None:
            return number
        return int(self.accelerator.gather(torch.tensor([number], device=self.device)).max())

    def broadcast(self, value: Value) -> Value:
        """The value of rank 0, in every process."""
        if self.accelerator is None:
            return value
        from accelerate.utils import broadcast_object_list

        received: Value = broadcast_object_list([value])[0]
        return received

    def barrier(self) -> None:
        """Wait for all processes."""
        if self.accelerator is not None:
            self.accelerator.wait_for_everyone()


def _leave_group() -> None:
    """End the threads that talk to other processes, which may abort a process that ends while they run."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
