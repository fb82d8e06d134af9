"""Online EM: a stream of batches, each learned from and forgotten."""

from __future__ import annotations

from typing import Any, NamedTuple

from emlib.loop import Step

__all__ = ["Stream", "blended"]


class Stream(NamedTuple):
    """What is kept from one batch to the next.

    Attributes
    ----------
    columns : ColumnScale
        Of the first batch: what the stream runs in.
    model : Model
        Whose statistics add and scale.
    params
        After the last batch, of z.
    statistics
        A row, or None before the first batch.
    batches : int
        How many there were.
    seen : float
        Rows in all of them.
    """

    columns: Any
    model: Any
    params: Any
    statistics: Any
    batches: int
    seen: float


def blended(stream: Stream, step: Step, size: float) -> Stream:
    """Return the stream whose statistics have learned from one batch.

    Batch t has the step (t + 1)^-0.6: its statistics replace so much of
    those of the batches before; the first replaces all. The parameters are
    those that the statistics make, of as many rows as were seen.

    Parameters
    ----------
    stream : Stream
        Before the batch.
    step : Step
        Its parameters, over the rows of the batch.
    size : float
        How many these are.

    Returns
    -------
    Stream
        After the batch.

    References
    ----------
    Cappé and Moulines (2009), On-line expectation-maximization algorithm
    for latent data models.
    """
    statistics = step.posterior.statistics.scaled(1 / size)
    batches, seen = stream.batches + 1, stream.seen + size
    if stream.statistics is not None:
        share = (batches + 1) ** -0.6
        past = stream.statistics.scaled(1 - share)
        statistics = past + statistics.scaled(share)
    params = stream.model.maximise(statistics.scaled(seen), step.params)
    return stream._replace(
        params=params, statistics=statistics, batches=batches, seen=seen
    )
