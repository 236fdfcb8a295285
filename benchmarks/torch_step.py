"""SimCLR's step in plain PyTorch: the yardstick of `accelerator.py`.

ResNet-18 with the CIFAR stem, projector of two layers, NT-Xent at temperature
0.5, SGD with momentum; channels last, bfloat16 by autocast, `torch.compile`.
"""

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

_DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def version() -> str:
    """PyTorch's version."""
    return torch.__version__


class _Block(nn.Module):
    def __init__(self, entering, leaving, stride):
        super().__init__()
        self.first = nn.Conv2d(entering, leaving, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(leaving)
        self.second = nn.Conv2d(leaving, leaving, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(leaving)
        self.shortcut = nn.Identity()
        if stride != 1 or entering != leaving:
            self.shortcut = nn.Sequential(
                nn.Conv2d(entering, leaving, 1, stride, bias=False),
                nn.BatchNorm2d(leaving),
            )

    def forward(self, x):
        y = functional.relu(self.first_norm(self.first(x)))
        y = self.second_norm(self.second(y))
        return functional.relu(y + self.shortcut(x))


def _network(widths) -> nn.Module:
    layers = [
        nn.Conv2d(3, 64, 3, 1, 1, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(),
    ]
    entering = 64
    for stage, leaving in enumerate((64, 128, 256, 512)):
        for block in range(2):
            stride = 2 if stage and not block else 1
            layers.append(_Block(entering, leaving, stride))
            entering = leaving
    layers += [
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(512, widths[0], bias=False),
        nn.BatchNorm1d(widths[0]),
        nn.ReLU(),
        nn.Linear(*widths),
    ]
    return nn.Sequential(*layers)


def nt_xent(z1, z2, temperature: float = 0.5):
    """NT-Xent of two batches of embeddings (B, d), as a scalar."""
    z = functional.normalize(torch.cat([z1, z2]).float(), dim=1)
    logits = z @ z.T / temperature
    logits.fill_diagonal_(float("-inf"))
    count = len(z1)
    targets = torch.arange(2 * count, device=z.device).roll(count)
    return functional.cross_entropy(logits, targets)


def _wait():
    if _DEVICE == "cuda":
        torch.cuda.synchronize()


def step_call(batch: int, size: int, widths: tuple[int, int]) -> Callable:
    """A train step as a function without arguments that waits for its end.

    Args:
        batch: int, images a step.
        size: int, of the images, in pixels.
        widths: of the projector's two layers.
    """
    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high")
    network = _network(widths).to(_DEVICE, memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), 0.03, momentum=0.9)
    view1, view2 = (
        torch.rand(batch, 3, size, size, device=_DEVICE).to(
            memory_format=torch.channels_last
        )
        for _ in range(2)
    )

    @torch.compile
    def loss_of(images):
        with torch.autocast(_DEVICE, torch.bfloat16):
            z = network(images)
        return nt_xent(*z.chunk(2))

    def call():
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(torch.cat([view1, view2]))
        loss.backward()
        optimizer.step()
        _wait()

    return call


def objective_call(batch: int, dim: int) -> Callable:
    """Value and gradient of NT-Xent as a function without arguments."""
    z1, z2 = (
        torch.randn(batch, dim, device=_DEVICE, requires_grad=True)
        for _ in range(2)
    )
    compiled = torch.compile(nt_xent)

    def call():
        z1.grad = z2.grad = None
        compiled(z1, z2).backward()
        _wait()

    return call
