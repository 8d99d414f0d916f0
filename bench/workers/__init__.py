"""One script a task, run by the project's own interpreter: `python -m bench.workers.NAME`."""
