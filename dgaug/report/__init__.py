"""The report of a run: one HTML file that needs nothing else, and what this machine has for making runs."""
