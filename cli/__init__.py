"""The command line: each file parses, validates and calls one function of the library."""
