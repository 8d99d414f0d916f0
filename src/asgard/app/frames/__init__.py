"""The Python face: data as frames of other libraries, by one call."""
