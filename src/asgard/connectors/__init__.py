"""One file is one outside system. They know neither each other nor the lake."""
