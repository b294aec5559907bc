"""A program of its own: search names by a pattern, under a limit of processor time that the system enforces.

`dgaug.data.patterned` runs it, because nothing stops Python's matcher inside a process. It reads a JSON list [pattern,
names, seconds] and writes for each name its groups, or null.
"""

from __future__ import annotations

import json
import re
import resource
import sys


def main() -> None:
    """Read, search, write."""
    pattern, names, seconds = json.load(sys.stdin)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    search = re.compile(pattern).search
    json.dump([match and match.groupdict() for match in map(search, names)], sys.stdout)


if __name__ == "__main__":
    main()
