# SPDX-License-Identifier: BSD-3-Clause
"""The reblur-consistency loss, and the generator that the paper fine-tunes with it."""

import pytest
import torch
from torch.nn import functional

from blurmodels.basis_kernels.deblurgan import DeblurGANGenerator
from blurmodels.basis_kernels.reblur import ReblurLoss
from blurmodels.checkpoints import load, write_pickled
from blurops import Saturation
from blurops.fields import camera_shake_field


@pytest.fixture
def problem():
    """Two images with kernels and mixing of their own, in float64."""
    generator = torch.Generator().manual_seed(5)

    def draw(*shape):
        return torch.rand(shape, generator=generator, dtype=torch.float64)

    kernels, mixing = draw(2, 3, 5, 7), draw(2, 3, 14, 17)
    kernels /= kernels.sum(dim=(2, 3), keepdim=True)
    mixing /= mixing.sum(dim=1, keepdim=True)
    # From 0.05 on, where no clamp bites.
    return 0.05 + draw(2, 3, 14, 17), draw(2, 3, 14, 17), kernels, mixing


def literal(restored, blurred, kernels, mixing, gamma, a=None, reach=(2, 3)):
    """Eqs. 2 to 4 pixel by pixel, without an op of blurops."""
    light = restored**gamma
    pad = (reach[1], reach[1], reach[0], reach[0])
    windows = functional.pad(light, pad, mode="reflect")
    windows = windows.unfold(2, kernels.shape[2], 1).unfold(3, kernels.shape[3], 1)
    own = torch.einsum("nbhw,nbij->nhwij", mixing, kernels)
    light = torch.einsum("nchwij,nhwij->nchw", windows, own)
    if a is not None:
        light = light - torch.log(1 + torch.exp(a * (light - 1))) / a
    return light ** (1 / gamma) - blurred


class TestReblurLoss:
    @pytest.mark.parametrize("gamma", [1.0, 2.2])
    @pytest.mark.parametrize("a", [None, 50.0, 20.0])
    def test_it_is_the_equation(self, problem, gamma, a):
        sensor = None if a is None else Saturation(a=a)
        error = literal(*problem, gamma, a)
        for name, wanted in (("l2", error.square().mean()), ("l1", error.abs().mean())):
            loss = ReblurLoss(gamma=gamma, saturation=sensor, loss=name)
            torch.testing.assert_close(loss(*problem), wanted, rtol=1e-10, atol=0)

    def test_gradients_reach_the_restored_image_alone(self, problem):
        tensors = [tensor.requires_grad_() for tensor in problem]
        ReblurLoss()(*tensors).backward()
        assert tensors[0].grad.abs().min() > 0
        assert all(tensor.grad is None for tensor in tensors[1:])

    def test_the_gradient_is_the_derivative(self, problem):
        restored, *rest = (tensor[:1, :, :7, :8] for tensor in problem)
        restored = restored[:, :1].clone().requires_grad_()
        rest[0] = rest[0][:, :1]
        assert torch.autograd.gradcheck(lambda x: ReblurLoss()(x, *rest), restored)

    def test_black_and_negative_values_do_no_harm(self, problem):
        restored, *rest = problem
        restored = restored.float() - 0.6
        restored[0] = 0
        restored.requires_grad_()
        loss = ReblurLoss()(restored, *(tensor.float() for tensor in rest))
        loss.backward()
        assert torch.isfinite(loss)
        assert torch.isfinite(restored.grad).all()
        assert restored.grad.abs().max() < 10

    def test_valid_uses_the_middle(self, problem):
        restored, blurred, kernels, mixing = problem
        middle = (slice(None), slice(None), slice(2, -2), slice(3, -3))
        error = literal(restored, blurred, kernels, mixing, 2.2, 50.0)[middle]
        loss = ReblurLoss(boundary="valid")(restored, blurred, kernels, mixing[middle])
        torch.testing.assert_close(loss, error.square().mean(), rtol=1e-10, atol=0)

    def test_a_field_brings_gamma_and_boundary(self):
        field = camera_shake_field(40, 48, basis_size=2, kernel_size=9, boundary="circular")
        loss = ReblurLoss.for_field(field, loss="l1")
        assert (loss.gamma, loss.boundary, loss.loss) == (1.0, "circular", "l1")

    def test_the_truth_is_its_minimum(self):
        field = camera_shake_field(40, 48, basis_size=3, kernel_size=9, seed=1)
        loss = ReblurLoss()
        sharp = torch.rand(1, 3, 40, 48)
        blurred = loss.reblur(sharp, field.kernels, field.mixing)
        assert loss(sharp, blurred, field.kernels, field.mixing) == 0
        other = sharp + 0.02 * torch.rand(sharp.shape)
        assert loss(other, blurred, field.kernels, field.mixing) > 1e-6

    def test_bad_input(self, problem):
        with pytest.raises(ValueError, match="gamma must be positive and finite, got 0"):
            ReblurLoss(gamma=0)
        with pytest.raises(ValueError, match="loss must be one of l2, l1, got 'l3'"):
            ReblurLoss(loss="l3")
        restored, blurred, kernels, mixing = problem
        with pytest.raises(ValueError, match="blurred must have the restored image's shape"):
            ReblurLoss()(restored, blurred[:1], kernels, mixing)


def published():
    """Names and shapes of `latest_net_G.pth`, written out from its layer table."""
    shapes = {"1": (64, 3, 7, 7), "4": (128, 64, 3, 3), "7": (256, 128, 3, 3)}
    for block in range(10, 19):
        for layer in (1, 6):
            shapes[f"{block}.conv_block.{layer}"] = (256, 256, 3, 3)
    shapes |= {"19": (256, 128, 3, 3), "22": (128, 64, 3, 3), "26": (3, 64, 7, 7)}
    found = {}
    for name, shape in shapes.items():
        found[f"model.{name}.weight"] = shape
        # A transposed convolution has its outputs second.
        found[f"model.{name}.bias"] = (shape[1] if name in ("19", "22") else shape[0],)
    return found


def by_hand(state, image, blocks):
    """The generator from its weights' names, without its class."""

    def convolved(x, name, pad=0, stride=1, norm=True, transposed=False):
        weight, bias = state[f"model.{name}.weight"], state[f"model.{name}.bias"]
        if transposed:
            x = functional.conv_transpose2d(x, weight, bias, 2, 1, 1)
        else:
            zeros = 1 if stride == 2 else 0
            x = functional.pad(x, (pad,) * 4, mode="reflect") if pad else x
            x = functional.conv2d(x, weight, bias, stride, zeros)
        return functional.instance_norm(x) if norm else x

    x = y = 2 * image - 1
    y = convolved(y, "1", 3).relu()
    y = convolved(y, "4", stride=2).relu()
    y = convolved(y, "7", stride=2).relu()
    for i in range(10, 10 + blocks):
        inner = convolved(y, f"{i}.conv_block.1", 1).relu()
        y = y + convolved(inner, f"{i}.conv_block.6", 1)
    y = convolved(y, f"{10 + blocks}", transposed=True).relu()
    y = convolved(y, f"{13 + blocks}", transposed=True).relu()
    y = convolved(y, f"{17 + blocks}", 3, norm=False).tanh()
    return ((x + y).clamp(-1, 1) + 1) / 2


class TestGenerator:
    def test_names_shapes_and_count_are_the_published_ones(self):
        with torch.device("meta"):
            network = DeblurGANGenerator()
        state = network.state_dict()
        assert {name: tuple(tensor.shape) for name, tensor in state.items()} == published()
        assert list(state) == list(published())
        assert len(state) == 48
        assert sum(tensor.numel() for tensor in state.values()) == 11_378_179

    def test_it_computes_what_its_weights_say(self):
        torch.manual_seed(2)
        network = DeblurGANGenerator(width=4, blocks=2).eval().double()
        image = torch.rand(2, 3, 20, 24, dtype=torch.float64)
        with torch.no_grad():
            wanted = by_hand(network.state_dict(), image, 2)
            torch.testing.assert_close(network(image), wanted, rtol=0, atol=1e-12)
        assert (wanted - image).abs().mean() > 0.01

    def test_other_sizes_are_continued_by_their_edge(self):
        torch.manual_seed(2)
        network = DeblurGANGenerator(width=4, blocks=1).eval()
        image = torch.rand(1, 3, 18, 23)
        larger = functional.pad(image, (0, 1, 0, 2), mode="replicate")
        with torch.no_grad():
            assert torch.equal(network(image), network(larger)[:, :, :18, :23])

    def test_dropout_is_for_training(self):
        torch.manual_seed(2)
        network = DeblurGANGenerator(width=4, blocks=1)
        image = torch.rand(1, 3, 16, 16)
        with torch.no_grad():
            assert not torch.equal(network(image), network(image))
            network.eval()
            assert torch.equal(network(image), network(image))

    def test_the_published_file_loads_with_its_statistics(self, tmp_path):
        """Written by an old torch: unused statistics beside each normalisation."""
        torch.manual_seed(3)
        network = DeblurGANGenerator(width=64, blocks=9)
        tensors = network.state_dict()
        for layer in ("2", "5", "8", "20", "23", *(f"{i}.conv_block.7" for i in range(10, 19))):
            tensors[f"model.{layer}.running_mean"] = torch.zeros(1)
            tensors[f"model.{layer}.running_var"] = torch.ones(1)
        write_pickled(tmp_path / "latest_net_G.pth", {f"module.{k}": v for k, v in tensors.items()})
        found = DeblurGANGenerator.from_pretrained(tmp_path / "latest_net_G.pth")
        assert not found.training
        for name, tensor in network.state_dict().items():
            assert torch.equal(found.state_dict()[name], tensor)

    def test_its_own_file_says_what_it_is(self, tmp_path):
        network = DeblurGANGenerator(width=4, blocks=1, dropout=0.1)
        network.save(tmp_path / "g.safetensors")
        found = DeblurGANGenerator.from_pretrained(tmp_path / "g.safetensors")
        assert found.architecture == {"width": 4, "blocks": 1, "dropout": 0.1}
        assert torch.equal(found.model[1].weight, network.model[1].weight)
        with pytest.raises(ValueError, match=r"must hold weights of basis_kernels.TwoHeadsNetwork"):
            load(tmp_path / "g.safetensors", model="basis_kernels.TwoHeadsNetwork")

    def test_other_weights_are_refused(self, tmp_path):
        tensors = DeblurGANGenerator(width=8, blocks=1).state_dict()
        write_pickled(tmp_path / "other.pth", tensors)
        with pytest.raises(ValueError, match=r"other.pth' must hold the weights of DeblurGAN"):
            DeblurGANGenerator.from_pretrained(tmp_path / "other.pth")

    def test_bad_input(self):
        with pytest.raises(ValueError, match="width must be a positive integer, got 0"):
            DeblurGANGenerator(width=0)
        network = DeblurGANGenerator(width=4, blocks=1)
        with pytest.raises(ValueError, match=r"image must be RGB \(N, 3, H, W\)"):
            network(torch.rand(1, 1, 16, 16))
        with pytest.raises(ValueError, match="sides of at least 5 pixels, got 16 x 4"):
            network(torch.rand(1, 3, 4, 16))
