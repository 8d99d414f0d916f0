"""What good data is, and what is done with the rest."""
