"""Spark reads through Asgard's connectors: `register(spark)`, then `spark.read.format("asgard")`.

Reference: https://spark.apache.org/docs/latest/api/python/tutorial/sql/python_data_source.html
"""

from asgard.app.spark.source import register, release

__all__ = ["register", "release"]
