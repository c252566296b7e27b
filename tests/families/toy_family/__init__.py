"""A family outside the package: images are multiplied by a number that is learned."""

from napari_mrgen.engine.family import DataPreview, Family, GenerateConfig, Input
from napari_mrgen.metrics.scoreboard import Score
from tests.families.toy_family.config import PRESETS, ToyConfig


class ToyFamily(Family):
    name, title, summary, paper = "toy_family", "Toy", "Learn one number.", "None"
    train_inputs = (Input("image", "Images", ("zyx",), many=True),)
    generate_inputs = (Input("image", "Image", ("zyx",)),)
    train_config, generate_config, presets = ToyConfig, GenerateConfig, PRESETS

    def networks(self, config, shape):
        from torch import nn

        return {"toy": nn.Linear(1, 1)}

    def plan(self, config, inputs, precision="32-true"):
        from tests.families.toy_family.training import plan

        return plan(self, inputs, precision)

    def preview_data(self, config, inputs):
        yield DataPreview.of(inputs.train("image")[0].read(), inputs)

    def stages(self, config, inputs):
        from tests.families.toy_family.training import stage

        yield stage(self.networks(config, ()))

    def generate(self, networks, trained, config, inputs, generator, data):
        image = inputs["image"]
        yield image.with_array(image.array * float(networks["toy"].weight), name="toy")

    def score(self, networks, trained, inputs):
        for scan in inputs.test("image"):
            yield from (Score(method, scan.subject, {"loss": 1.0}) for method in "ab")


FAMILY = ToyFamily()
