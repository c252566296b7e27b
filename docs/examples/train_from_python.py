"""Train a model: the same events come here as in the window and on the command line.

Usage: python train_from_python.py DATA RUN
"""

import sys

import napari_mrgen as mrgen
from napari_mrgen.engine.run import events

data, run = sys.argv[1:]

for event in mrgen.train("frame_prediction", "tiny", cine=data, out=run, seed=7, device="cpu"):
    match event:
        case events.Stepped():
            print(f"{event.stage} {event.step}/{event.steps}", dict(event.losses))
        case events.Failed():
            sys.exit(event.message)
        case events.Finished():
            for row in event.scoreboard.rows:
                print(f"{row.method:22} {row.mean['PSNR 1']:.2f} dB at the next frame")
