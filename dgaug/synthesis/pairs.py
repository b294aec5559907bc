"""Pair designs: which appearance goes on which structure, k by k, without ever listing N x N pairs."""

from __future__ import annotations

import csv
import hashlib
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dgaug.errors import DgaugError
from dgaug.store.schema import Sources
