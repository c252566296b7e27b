"""MRI physics as plain differentiable functions: tensors in, tensors out.

Axis letters are ``t`` frames, ``c`` coils, ``k`` samples of a frame, ``y x`` pixels. Trajectories
are in radians a pixel, from -pi to pi, in the order of the image's axes: y, then x.
"""
