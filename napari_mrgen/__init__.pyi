from napari_mrgen import families as families
from napari_mrgen.app.python import evaluate as evaluate
from napari_mrgen.app.python import load as load
from napari_mrgen.app.python import read as read
from napari_mrgen.app.python import resume as resume
from napari_mrgen.app.python import train as train
from napari_mrgen.app.python import write as write
from napari_mrgen.volume import Volume as Volume

__version__: str
__all__ = ["Volume", "evaluate", "families", "load", "read", "resume", "train", "write"]
