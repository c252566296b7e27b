"""Follow a run that another process trains, from its folder alone.

Usage: python watch_a_run.py RUN
"""

import sys
from pathlib import Path

from napari_mrgen.engine.run import events
from napari_mrgen.engine.run.folder import Run, read_preview, watch

folder = Path(sys.argv[1])
print("This run is", Run(folder).status)

for event in watch(folder):
    match event:
        case events.Evaluated():
            print(f"{event.stage} {event.step}:", dict(event.metrics))
        case events.Previewed():
            for volume in read_preview(folder, event):
                print("preview:", volume.name, volume.array.shape)
