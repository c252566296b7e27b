"""Read a NIfTI file, look at its geometry, and write it back bit for bit.

Usage: python nifti_without_loss.py IN.nii.gz OUT.nii.gz
"""

import sys

import numpy as np

import napari_mrgen as mrgen

source, copy = sys.argv[1:]

volume = mrgen.read(source)
print(f"{volume.axes} {volume.array.shape} {volume.array.dtype}")
print("Spacing (z, y, x) in mm:", volume.spacing)
print("Seconds between frames:", volume.frame_interval or "not known")

mrgen.write(volume, copy)
again = mrgen.read(copy)
print("Same voxels:", np.array_equal(volume.array, again.array))
print("Same place:", np.array_equal(volume.affine, again.affine))
