"""What a training of some data on this machine would be: the command, its time and its memory, as people read it."""

from __future__ import annotations

from dataclasses import dataclass

from dgaug.settings import Settings

GIB = 2**30


@dataclass(frozen=True)
class TrainingPlan:
    """The training that fits some data and this machine.

    Attributes:
        command: what starts it; empty where the data cannot be trained on.
        settings: all that it would train with.
        enough: whether there are identities and images enough for more than a try.
        remarks: what is odd with the data or was chosen for them, in sentences.
        device: what it was timed on.
        timed: iterations that the estimate comes from; 0: none was timed.
        seconds: estimate for the whole training; None: not timed.
        memory: estimate in bytes, of the GPU or of the process; None: not timed.
        free: bytes that are free there now.
    """

    command: str
    settings: Settings
    enough: bool
    remarks: tuple[str, ...]
    device: str
    timed: int = 0
    seconds: float | None = None
    memory: int | None = None
    free: int = 0

    def described(self) -> dict[str, object]:
        """As JSON has it."""
        names = ("command", "enough", "device", "seconds", "memory", "free")
        return {name: getattr(self, name) for name in names} | {
            "preset": self.settings.name,
            "image_size": list(self.settings.data.image_size),
            "iterations": {"teacher": teacher_iterations(self.settings), "dgnet": self.settings.schedule.iterations},
            "timed_iterations": self.timed,
            "remarks": list(self.remarks),
        }

    def lines(self) -> list[str]:
        """As people read it: the remarks, the command, what it takes."""
        if not self.command:
            return list(self.remarks)
        lines = [*self.remarks, f"next: {self.command}"]
        if self.seconds is None or self.memory is None:
            return lines
        teacher = teacher_iterations(self.settings)
        dgnet = f"{self.settings.schedule.iterations:,}"
        length = f"{teacher:,} iterations of the teacher and {dgnet} of DG-Net" if teacher else f"{dgnet} iterations"
        lines.append(
            f"estimate: {_duration(self.seconds)} and {self.memory / GIB:.1f} GiB of memory ({self.free / GIB:.1f} "
            f"GiB free) on {self.device} for {length}, from {self.timed} iterations timed on random images"
        )
        return lines


def teacher_iterations(settings: Settings) -> int:
    """Of the teacher that a training begins with; 0 where one is given."""
    return 0 if settings.teacher.checkpoints else settings.teacher.iterations


def _duration(seconds: float) -> str:
    for most, unit, name in ((90, 1, "seconds"), (90 * 60, 60, "minutes"), (48 * 3600, 3600, "hours")):
        if seconds < most:
            count = seconds / unit
            return f"about {count:.1f} {name}" if unit == 3600 else f"about {max(1, round(count))} {name}"
    return f"about {seconds / 86400:.1f} days"
