"""What is remembered: runs, their events and their outcome."""
