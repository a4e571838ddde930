"""Groups of both versions, with folders of real files in place of the kernel's."""

import errno
import os
from pathlib import Path

import pytest

from engine.jail import cgroups
from engine.jail.cgroups import EngineGroups, Hierarchy, SlotGroup, find_hierarchy, sweep
