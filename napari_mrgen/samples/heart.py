"""A beating heart in short-axis slices: analytic shapes, so that every label is exact."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from napari_mrgen.samples.scanner import (
    Field,
    add_rician_noise,
    paint,
    sample_k_space,
    smooth_noise,
    soft,
)
from napari_mrgen.volume import CardiacCycle, Volume, upright_affine

RV, MYOCARDIUM, LV = 1, 2, 3
"""Labels, as in ACDC."""

_FIELD_OF_VIEW = 150.0
_THICKNESS = 8.0
_SCALE = 600.0
"""Stored intensity of the brightest blood."""

# Signal of a balanced SSFP sequence, of blood.
_BLOOD, _MUSCLE, _FAT, _LUNG, _LIVER, _BONE = 0.95, 0.27, 0.80, 0.05, 0.36, 0.12


@dataclass(frozen=True)
class Patient:
    """What differs from one seed to the next; lengths in mm, angles in radians."""

    ejection_fraction: float
    cycle: float
    """Length of a heart beat in s."""
    systole: float
    """Share of the cycle until end systole."""
    early_filling: float
    """Share of the stroke volume that returns before the atrium contracts."""
    radius: float
    wall: float
    rv_angle: float
    rv_size: float
    lobes: tuple[float, ...]

    @classmethod
    def sample(cls, generator: np.random.Generator) -> Patient:
        uniform = generator.uniform
        return cls(
            ejection_fraction=uniform(0.50, 0.68),
            cycle=uniform(0.75, 1.05),
            systole=uniform(0.33, 0.42),
            early_filling=uniform(0.65, 0.8),
            radius=uniform(22.5, 27),
            wall=uniform(8, 10.5),
            rv_angle=uniform(-0.25, 0.25),
            rv_size=uniform(0.92, 1.08),
            lobes=tuple(uniform(0, 2 * np.pi, 4)),
        )


def contraction(phase: Field, patient: Patient) -> Field:
    """Return 0 at end diastole and 1 at end systole, for phases of the cycle in [0, 1).

    Ejection, early filling, diastasis and the atrial kick, each a smooth step.
    """
    relaxed = patient.systole + 0.22
    early = patient.early_filling * _step(phase, patient.systole + 0.04, relaxed)
    late = (1 - patient.early_filling) * _step(phase, 0.82, 1.0)
    return _step(phase, 0.0, patient.systole) - early - late


def beating_heart(
    seed: int = 0,
    frames: int = 20,
    slices: int = 6,
    size: int = 96,
    *,
    noise: float = 0.03,
) -> tuple[Volume, Volume]:
    """Return a cine over one cycle, frame 0 at end diastole, and its labels, ``(t, z, y, x)``.

    Slices go from base to apex. Labels: 1 right ventricle, 2 myocardium, 3 left ventricle. Each
    seed is another patient; ``cardiac_cycle`` holds its ejection fraction and duration.
    ``noise`` is the standard deviation of the noise, of the brightest blood.
    """
    generator = np.random.default_rng(seed)
    patient = Patient.sample(generator)
    phase = np.arange(frames, dtype=np.float32)[:, None, None, None] / frames
    depth = ((np.arange(slices, dtype=np.float32) + 0.5) / slices)[:, None, None]
    spacing = _FIELD_OF_VIEW / size
    centred = (np.arange(size, dtype=np.float32) - (size - 1) / 2) * np.float32(spacing)
    y, x = centred[:, None], centred[None, :]
    beat = contraction(phase, patient)
    picture = _thorax(x, y, depth, spacing, generator)
    picture, labels = _heart(picture, x, y, depth, beat, spacing, patient)
    picture = picture * _coil(x, y) * (1 + 0.04 * smooth_noise((size, size), 12, generator))
    picture = add_rician_noise(sample_k_space(picture, (2, 3)), noise, generator)
    return _volumes(picture, labels, spacing, patient, int(np.argmax(beat)), seed)


def _step(phase: Field, start: float, end: float) -> Field:
    """Return a step from 0 to 1 between two phases, without a corner."""
    share = np.clip((phase - start) / (end - start), 0, 1)
    return np.asarray((1 - np.cos(np.pi * share)) / 2, np.float32)


def _disc(x: Field, y: Field, centre: tuple[Field | float, Field | float]) -> Field:
    return np.asarray(np.hypot(x - centre[0], y - centre[1]))


def _thorax(
    x: Field, y: Field, depth: Field, spacing: float, generator: np.random.Generator
) -> Field:
    """Return what does not move, ``(z, y, x)``: chest wall on top, lung, liver, aorta."""
    shape = (depth.size, y.size, x.size)
    texture = smooth_noise(shape[1:], 5, generator)
    vessels = np.clip(smooth_noise(shape, 2.5, generator) - 1.6, 0, 1) * 0.35
    picture = np.zeros(shape, np.float32) + _LUNG + vessels
    skin = _disc(x, y, (8.0, 62.0)) - 128
    liver = _disc(x * 0.8, y, (-36.0, 104.0)) - 62 - 9 * depth
    stomach = _disc(x * 0.8, y, (50.0, 104.0)) - 34 - 16 * depth
    picture = paint(picture, _LIVER * (1 + 0.08 * texture) + vessels, soft(liver, spacing))
    picture = paint(picture, 0.30, soft(stomach, spacing))
    picture = paint(picture, 0.05, soft(_disc(x, y, (52.0, 52.0)) - 13, spacing))
    picture = paint(picture, _BLOOD * 0.93, soft(_disc(x, y, (52.0, 52.0)) - 11, spacing))
    picture = paint(picture, _MUSCLE * (1 + 0.15 * texture), soft(-(skin + 22), spacing))
    for rib in (-62.0, -18.0, 30.0, 72.0):
        place = (rib + 10 * float(generator.standard_normal()) * 0.3, -0.004 * rib**2)
        bone = _disc((x - place[0]) * 0.4, skin + 16, (0.0, 0.0)) - 4.5
        picture = paint(picture, _BONE, soft(bone, spacing))
        picture = paint(picture, 0.45, soft(bone + 2.5, spacing))
    picture = paint(picture, _FAT * (1 + 0.06 * texture), soft(-(skin + 9), spacing))
    return paint(picture, 0.0, soft(-skin, spacing))


def _heart(
    thorax: Field, x: Field, y: Field, depth: Field, beat: Field, spacing: float, patient: Patient
) -> tuple[Field, Field]:
    """Return picture and labels, ``(t, z, y, x)``, of the heart in its thorax."""
    profile = np.sqrt(1 - (0.88 * depth) ** 2)
    x = x - np.float32(14) + np.float32(1.5) * beat
    y = y - np.float32(2) - np.float32(1.5) * beat
    angle = np.arctan2(y, x) - np.float32(0.15) * beat * (depth - np.float32(0.3))
    distance = np.hypot(x, y)
    # The area follows the volume, and the muscle keeps its own, so the wall thickens.
    shrunk = 1 - patient.ejection_fraction * beat
    inner_0, wall = patient.radius * profile, patient.wall * (1 - 0.25 * depth)
    inner = inner_0 * np.sqrt(shrunk)
    outer = np.sqrt(inner**2 + ((inner_0 + wall) ** 2 - inner_0**2) * (1 + 0.06 * beat))
    a, b, c, d = patient.lobes
    lobes = 0.03 * np.cos(2 * angle + a) + 0.025 * np.cos(3 * angle + b)
    endocardium = distance - inner * (1 + lobes * (1 + beat))
    epicardium = distance - outer * (1 + 0.6 * lobes)
    cavity, wall_rv, fat = _right_heart(x, y, angle, depth, beat, outer, patient, c)
    picture = paint(
        thorax,
        0.7 * _FAT,
        soft(np.minimum(fat, epicardium - 3 - 3 * np.cos(2 * angle + c)), spacing),
    )
    picture = paint(picture, _MUSCLE, soft(wall_rv, spacing))
    picture = paint(picture, _BLOOD * 0.94, soft(cavity, spacing))
    picture = paint(picture, _MUSCLE, soft(epicardium, spacing))
    picture = paint(picture, _BLOOD, soft(endocardium, spacing))
    for side in (-0.5, 1.9):
        muscle = _papillary(x, y, side + 0.2 * np.cos(d) + 0.15 * beat, inner, depth, beat)
        picture = paint(picture, _MUSCLE * 1.15, soft(np.maximum(muscle, endocardium), spacing))
    labels = np.zeros(picture.shape, np.uint8)
    labels[cavity < 0] = RV
    labels[epicardium < 0] = MYOCARDIUM
    labels[endocardium < 0] = LV
    return picture, labels


def _right_heart(
    x: Field,
    y: Field,
    angle: Field,
    depth: Field,
    beat: Field,
    outer: Field,
    patient: Patient,
    ripple: float,
) -> tuple[Field, Field, Field]:
    """Return signed distances of the cavity of the RV, its free wall, and the fat around it."""
    turn = patient.rv_angle
    along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    size = patient.rv_size * np.sqrt(np.clip(1 - (0.97 * depth) ** 2, 0, 1)) * (1 - 0.2 * beat)
    reach, height = outer + 21 * size, 33 * size
    centre = -(reach - 36 * size) + 3 * beat
    radius = np.hypot((along - centre) / 36, (across + 5) / 33) / size
    free_wall = (radius - 1) * height * (1 + 0.02 * np.cos(9 * angle + ripple))
    trabeculae = 1.2 * np.cos(11 * angle + ripple) * (radius > 0.6)
    return free_wall + trabeculae, free_wall - 3, free_wall - 6 - 3 * np.cos(3 * angle + ripple)


def _papillary(x: Field, y: Field, angle: Field, inner: Field, depth: Field, beat: Field) -> Field:
    """Return the signed distance of a papillary muscle: in the middle slices, near the wall."""
    size = 4.2 * np.sin(np.pi * np.clip(depth * 1.15, 0, 1)) * (1 - 0.15 * beat)
    reach = inner * 0.68
    return _disc(x, y, (reach * np.cos(angle), reach * np.sin(angle))) - size


def _coil(x: Field, y: Field) -> Field:
    """Return the shading of a surface coil: brighter towards the chest."""
    return np.asarray(0.62 + 0.5 / (1 + ((y + 90) / 95) ** 2 + (x / 140) ** 2), np.float32)


def _volumes(
    picture: Field, labels: Field, spacing: float, patient: Patient, systole: int, seed: int
) -> tuple[Volume, Volume]:
    frames, slices, size, _ = picture.shape
    image = Volume(
        array=np.rint(picture * _SCALE).astype(np.int16),
        axes="tzyx",
        affine=upright_affine((_THICKNESS, spacing, spacing), (slices, size, size)),
        name=f"heart {seed}",
        subject=f"heart-{seed:03d}",
        cardiac_cycle=CardiacCycle(
            ed_frame=0,
            es_frame=systole,
            duration=round(patient.cycle, 4),
            ejection_fraction=round(patient.ejection_fraction, 4),
        ),
        labelled_frames=tuple(range(frames)),
        times=tuple(round(patient.cycle * frame / frames, 6) for frame in range(frames)),
    )
    return image, replace(image, array=labels, kind="labels", name=f"heart {seed} labels")
