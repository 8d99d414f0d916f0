"""Frames that read when they are computed, in other processes: which library makes them."""

from __future__ import annotations

import importlib.util
from typing import Any

from asgard.app.sources.elsewhere import Reading
from asgard.core.errors import ConfigError

PACKAGES = {"dask": "dask.dataframe", "spark": "pyspark"}


def lazy_frame(library: str, reading: Reading, partitions: int | None = None) -> Any:
    """A frame of `dask` or `spark` over the splits of a stream.

    Args:
        partitions: about how many are wanted; what the machine or the cluster can do at once.

    Raises:
        ConfigError: the library is not installed.
    """
    if importlib.util.find_spec(PACKAGES[library].partition(".")[0]) is None:
        raise ConfigError(f"{library} is not installed", hint=f"pip install 'asgard-platform[{library}]'")
    if partitions is not None and partitions < 1:
        raise ConfigError(f"partitions is {partitions}", hint="it counts parts: give it 1 or more")
    if library == "spark":
        from asgard.app.spark.source import spark_frame  # which starts with Spark's own packages

        return spark_frame(reading, partitions)
    from asgard.app.frames.dask_frames import dask_frame

    return dask_frame(reading, partitions)
