"""What connectors of files share, on whichever storage they lie."""
