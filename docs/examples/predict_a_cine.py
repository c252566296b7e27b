"""Predict how a cine goes on, and save it where the scan lies.

Usage: python predict_a_cine.py RUN CINE OUT.nii.gz
"""

import sys
from pathlib import Path

from napari_mrgen import families
from napari_mrgen.app.generate import generate
from napari_mrgen.app.outputs import save

run, cine, out = map(Path, sys.argv[1:])

family = families.get("frame_prediction")
config = family.generate_config(frames=10, seed=1)

for volume in generate(run, {"cine": cine}, config):
    save(volume, out)
    print(f"{volume.name}: {volume.axes} {volume.array.shape}, {volume.spacing} mm")
    print("Its provenance:", sorted(volume.provenance))
