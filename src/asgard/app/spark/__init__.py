"""Sources and transforms on Spark, and the cluster that they need."""
