"""A person asks: translates the command line into wishes of `asgard.app`, and answers into text or JSON."""
