"""Python runs this file in a process whose environment has `held.Hold.environment`, before anything else."""

import os

if os.environ.get("DGAUG_HELD"):
    from held import hold

    hold(os.environ["DGAUG_HELD"])
