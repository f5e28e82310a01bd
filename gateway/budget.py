"""Training by the clock. A performer's key names its iterations, never seconds: so a time is turned into iterations.

The number is chosen when the transfer is made, from what trainings took on this installation before; for a target that
was trained for the same time already, it is the number of that training, so that the same wish finds what it made.
"""

from __future__ import annotations

from gateway.board import DEFAULT_SECONDS_PER_UNIT
from gateway.database import Database
from gateway.resources import ClipUse, TransferOptions
from services.common.errors import InvalidOption


def with_iterations(options: TransferOptions, target: ClipUse | None, database: Database) -> TransferOptions:
    """The options with iterations that fit `training_seconds`. Raises InvalidOption for what contradicts itself."""
    if target is None and options.quality_target:
        raise InvalidOption("a performer is trained already: leave the quality to be reached out")
    if not options.training_seconds:
        return options
    if target is None:
        raise InvalidOption("a performer is trained already: leave the time for training out")
    if options.iterations:
        raise InvalidOption("give either a number of iterations or a time for training")
    # Iterations are of one preset: which one cannot be left to the trainer any more.
    options = options.model_copy(update={"preset": options.preset or "preview"})
    return options.model_copy(update={"iterations": _iterations(options, target, database)})


def _iterations(options: TransferOptions, target: ClipUse, database: Database) -> int:
    for earlier in database.all_transfers():
        same = (earlier.options.training_seconds, earlier.options.training, earlier.options.seed, earlier.target)
        if same == (options.training_seconds, options.training, options.seed, target):
            return earlier.options.iterations
    rates = DEFAULT_SECONDS_PER_UNIT | database.stage_rates()
    seconds = rates.get(f"training:{options.training}", rates[f"training:{options.preset}"])
    return max(1, round(options.training_seconds / seconds))
