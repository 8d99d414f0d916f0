"""Tables of the lake, kept by Iceberg: the second format behind the same socket."""
