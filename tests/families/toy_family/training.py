import numpy as np
import torch

from napari_mrgen.engine.memory.measure import plan_training
from napari_mrgen.engine.task import Stage, Task
from napari_mrgen.volume import Volume


class ToyData(list):
    def sample(self, index, generator):
        return {"x": self[index]}

    def held_out(self):
        yield {"x": torch.stack(self)}

    def describe(self):
        return {"shape": [1]}


class ToyTask(Task):
    def step(self, batch, step, draws):
        loss = self.networks["toy"](batch["x"]).square().mean()
        self.update("toy", loss)
        return {"loss": loss.detach()}

    def evaluate(self, networks, batch):
        return {"loss": float(networks["toy"](batch["x"]).square().mean())}

    def preview(self, networks, draws):
        return (Volume(np.eye(2)[None], "zyx", np.eye(4)),)


def task(networks):
    return ToyTask(networks, {"toy": torch.optim.SGD(networks["toy"].parameters())}, ("toy",))


def stage(networks):
    return Stage("toy", "Toy", 2000, ToyData([torch.ones(1)]), task(networks))


def plan(family, inputs, precision):
    steps = [(lambda: (task(family.networks(None, ())), {"x": torch.ones(8, 1)}), 0)]
    return plan_training(steps, (1,), inputs, precision)
