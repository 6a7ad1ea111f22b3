"""What a training has run on: the CPU, or an NVIDIA GPU with how much of it was used. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from trainers.training.capacity import BYTES_PER_GB

CPU = "CPU"
QUERY = ("name", "utilization.gpu", "memory.used", "memory.total")
"""What ``nvidia-smi`` is asked for; its lines have these columns. Utilization is in percent, memory in MiB."""
_BYTES_PER_MIB = 2**20


@dataclass(frozen=True, slots=True)
class GpuSample:
    """One look at a GPU. A number is None if the GPU does not tell it, as a part of a divided GPU (MIG)."""

    name: str
    utilization_percent: float | None
    memory_gb: float | None
    memory_total_gb: float | None


@dataclass(frozen=True, slots=True)
class DeviceUse:
    """The device of a training. ``utilization_percent`` is the mean of ``num_utilizations`` samples, ``memory_gb`` the
    highest one. With None, nothing was told. ``precision`` is that of a network's training; empty for trees."""

    name: str = CPU
    precision: str = ""
    utilization_percent: float | None = None
    num_utilizations: int = 0
    memory_gb: float | None = None
    memory_total_gb: float | None = None

    def with_sample(self, sample: GpuSample) -> DeviceUse:
        """
        >>> use = DeviceUse()
        >>> for sample in (GpuSample("T4", 50.0, 3.0, 16.0), GpuSample("T4", 90.0, 2.0, 16.0)):
        ...     use = use.with_sample(sample)
        >>> use.name, use.utilization_percent, use.memory_gb
        ('T4', 70.0, 3.0)
        """
        use = replace(self, name=sample.name, memory_total_gb=sample.memory_total_gb or self.memory_total_gb)
        if sample.memory_gb is not None:
            use = replace(use, memory_gb=max(sample.memory_gb, self.memory_gb or 0.0))
        if sample.utilization_percent is None:
            return use
        count = self.num_utilizations + 1
        before = self.utilization_percent or 0.0
        mean = before + (sample.utilization_percent - before) / count
        return replace(use, utilization_percent=mean, num_utilizations=count)

    @property
    def tags(self) -> dict[str, str]:
        """For the registry: `divisions.commands.runs_view` reads them."""
        return {"training_device": self.name, **({"training_precision": self.precision} if self.precision else {})}

    @property
    def metrics(self) -> dict[str, float]:
        """For the registry, beside the tags."""
        told: Mapping[str, float | None] = {
            "gpu_utilization_percent": self.utilization_percent,
            "gpu_memory_gb": self.memory_gb,
            "gpu_memory_total_gb": self.memory_total_gb,
        }
        return {name: value for name, value in told.items() if value is not None}


def parse_sample(line: str) -> GpuSample | None:
    """A line of ``nvidia-smi``; None if it is another text, such as an error.

    >>> parse_sample("Tesla T4, 94, 3328, 15360")
    GpuSample(name='Tesla T4', utilization_percent=94.0, memory_gb=3.25, memory_total_gb=15.0)
    >>> parse_sample("NVIDIA A100 MIG 1g.5gb, [N/A], 12, 4864").utilization_percent is None
    True
    >>> parse_sample("No devices were found")
    """
    name, *numbers = line.rsplit(",", len(QUERY) - 1)
    if len(numbers) != len(QUERY) - 1 or not name.strip():
        return None
    utilization, used, total = map(_number, numbers)
    return GpuSample(name.strip(), utilization, _gb(used), _gb(total))


def _number(text: str) -> float | None:
    return float(text) if text.strip().isdecimal() else None


def _gb(mebibytes: float | None) -> float | None:
    return None if mebibytes is None else mebibytes * _BYTES_PER_MIB / BYTES_PER_GB
