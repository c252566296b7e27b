from napari_mrgen.engine.family import Preset, TrainConfig


class ToyConfig(TrainConfig):
    stages = property(lambda self: ("toy",))


PRESETS = dict.fromkeys(("tiny", "quick", "base", "published"), Preset(ToyConfig(), "A trial."))
