import torch

from napari_mrgen.nn.unet import Decoder, Encoder, ResidualBlock


def test_an_untrained_block_passes_its_input_on():
    x = torch.randn(2, 16, 5, 7, generator=torch.Generator().manual_seed(0))
    assert torch.equal(ResidualBlock(16, condition=4)(x, torch.ones(2, 4)), x)


def test_an_encoder_halves_and_a_decoder_restores():
    encoder, decoder = Encoder(3, (8, 16, 24)), Decoder((8, 16, 24), 4, out=5)
    features = encoder(torch.zeros(2, 3, 16, 24))
    assert [tuple(f.shape[1:]) for f in features] == [(8, 16, 24), (16, 8, 12), (24, 4, 6)]
    assert decoder(features, torch.zeros(2, 4)).shape == (2, 5, 16, 24)


def test_an_untrained_decoder_says_nothing():
    encoder, decoder = Encoder(1, (8, 16)), Decoder((8, 16), 4, out=2)
    x = torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert not decoder(encoder(x), torch.ones(1, 4)).any()
