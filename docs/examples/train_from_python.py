"""Train a model: the same events come here as in the window and on the command line.

Usage: python train_from_python.py DATA RUN
"""

import sys
from pathlib import Path

from napari_mrgen import families
from napari_mrgen.app.inputs import gather
from napari_mrgen.engine.control import Control
from napari_mrgen.engine.fit import fit
from napari_mrgen.engine.run import events

data, run = map(Path, sys.argv[1:])

family = families.get("frame_prediction")
config = family.preset("tiny").with_values({"seed": 7})
inputs = gather(family, {"cine": [data]}, config)
print("Held out:", ", ".join(inputs.split.test))

for event in fit(family, config, inputs, run, Control(), device="cpu"):
    match event:
        case events.Stepped():
            print(f"{event.stage} {event.step}/{event.steps}", dict(event.losses))
        case events.Failed():
            sys.exit(event.message)
        case events.Finished():
            for row in event.scoreboard.rows:
                print(f"{row.method:22} {row.mean['PSNR 1']:.2f} dB at the next frame")
