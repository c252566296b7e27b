"""Predict how a cine goes on, and save it where the scan lies.

Usage: python predict_a_cine.py RUN CINE OUT.nii.gz
"""

import sys

import napari_mrgen as mrgen

run, cine, out = sys.argv[1:]

model = mrgen.load(run)
future = model.generate(cine=cine, frames=10, seed=1)
mrgen.write(future, out)

print(f"{future.name}: {future.axes} {future.array.shape}, {future.spacing} mm")
print("Its provenance:", sorted(future.provenance))
