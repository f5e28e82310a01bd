"""What a stage's computations do, for those who count: see `services.common.metrics`."""

from __future__ import annotations

from dataclasses import dataclass

from services.common.artifacts import Facts


@dataclass(frozen=True)
class Ended:
    """How a computation ended: "computed", "found", "failed" or "cancelled". begun: whether it got a thread."""

    outcome: str
    seconds: float
    begun: bool


class StageObserver:
    """Hears what a runner's computations do, by the kind of artifact that they make; called from several threads."""

    def waits(self, kind: str) -> None:
        """A computation is wanted and waits for a thread."""

    def begins(self, kind: str) -> None:
        """It has got its thread."""

    def ends(self, kind: str, ended: Ended) -> None:
        """It is over."""

    def found(self, kind: str) -> None:
        """A caller got what was committed before."""

    def worked(self, kind: str, unit: str, more: int) -> None:
        """It did `more` of `unit` since it last told."""

    def emitted(self, facts: Facts) -> None:
        """It emitted something on the way."""
