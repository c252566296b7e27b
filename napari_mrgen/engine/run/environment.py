"""What a run was made with: a resumed run is the same bit for bit only on the same."""

from __future__ import annotations

import json
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from napari_mrgen.engine.device import device_info
from napari_mrgen.engine.distributed import ProcessGroup
from napari_mrgen.engine.run.folder import ENVIRONMENT, write_json

_PACKAGES = ("napari-mrgen", "torch", "lightning-fabric", "numpy")


def record_environment(run_dir: Path, group: ProcessGroup) -> list[str]:
    """Add this session's environment to the run folder; name what differs from the last one."""
    path = run_dir / ENVIRONMENT
    sessions = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    now = _describe(group)
    write_json(path, [*sessions, now])
    if not sessions:
        return []
    before = sessions[-1]
    return [
        f"{name} {before.get(name)} -> {value}"
        for name, value in now.items()
        if before.get(name) != value
    ]


def _describe(group: ProcessGroup) -> dict[str, Any]:
    return {
        "machine": platform.node(),
        "platform": platform.platform(),
        "processor": torch.backends.cpu.get_cpu_capability(),
        "device": device_info(group.device).title,
        "device_name": str(group.device),
        "precision": group.precision,
        "processes": group.size,
        "threads": torch.get_num_threads(),
        "python": sys.version.split()[0],
        **{name: _version(name) for name in _PACKAGES},
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # Run from a checkout that is not installed.
        return "unknown"
