"""What programs hand in over the API, and the work that they ask for."""
